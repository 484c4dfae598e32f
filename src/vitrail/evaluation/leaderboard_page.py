"""A leaderboard as rows of text and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitrail.evaluation.leaderboard import LEVEL, Cell, Column, Leaderboard

FINGERPRINT = 64
"""Letters of a fingerprint, of which a reader needs the first."""
READ = (
    "Figures with 95 % intervals over pictures. Behind them the places that paired tests of right answers, question "
    f"by question, leave open (Holm over the column's pairs, level {LEVEL:g}): models that share one are tied. "
    "* not all rows were answered."
)


def table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; the baselines last. Models stand by their mean place."""
    columns = ["model", *(f"{column.name}: {column.figure}" for column in board.columns)]
    rows = [[name, *(_cell(column.cells.get(name)) for column in board.columns)] for name in _ordered(board)]
    blind = [
        max((one.blind for one in column.cells.values() if one.blind is not None), default=None)
        for column in board.columns
    ]
    for name, values in (
        ("best of them without pictures", blind),
        ("majority guess", [column.majority for column in board.columns]),
        ("random option", [column.random for column in board.columns]),
    ):
        if any(value is not None for value in values):
            shown = [
                _plain(value, next(iter(column.cells.values())).share)
                for value, column in zip(values, board.columns, strict=True)
            ]
            rows.append([name, *shown])
    return columns, rows


def _ordered(board: Leaderboard) -> list[str]:
    places: dict[str, list[float]] = {name: [] for name in board.models}
    for column in board.columns:
        for name, cell in column.cells.items():
            places[name].append(sum(cell.ranks) / 2 if cell.ranks else len(column.cells) / 2)
    first = {name: next((one.cells[name].value or 0.0 for one in board.columns if name in one.cells), 0.0)
             for name in board.models}  # fmt: skip
    return sorted(places, key=lambda name: (sum(places[name]) / len(places[name]), -first[name], name))


def _plain(value: float | None, share: bool) -> str:
    return "–" if value is None else f"{100 * value:.1f}" if share else f"{value:.3f}"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = _plain(cell.value, cell.share)
    if cell.interval is not None:
        text += f" [{', '.join(_plain(end, cell.share) for end in cell.interval)}]"
    text += "*" if cell.n < cell.rows else ""
    if cell.ranks is not None:
        low, high = cell.ranks
        text += f" · {low}" if low == high else f" · {low}–{high}"
    return text


def _told(value: str, most: int = 80) -> str:
    """A point of a protocol: a fingerprint's beginning, or a part's name with its settings, cut where they are long."""
    try:
        part = json.loads(value)
    except ValueError:
        return value[:8] if len(value) == FINGERPRINT else value
    if not isinstance(part, dict):
        return value
    settings = ", ".join(f"{name} {one}" for name, one in part.items() if name != "name" and one is not None)
    text = " ".join(f"{part.get('name', '')}{f' ({settings})' if settings else ''}".split())
    return text if len(text) <= most else f"{text[:most]} …"


def remarks(board: Leaderboard) -> list[str]:
    """What a reader must know: columns kept apart, rows not covered, files left out."""
    found = []
    for column in board.columns:
        if column.differs:
            told = "; ".join(f"{point} {_told(value)}" for point, value in column.differs.items())
            found.append(f"{column.name} is not comparable with its namesakes: {told}")
        partly = [
            f"{name} {cell.n:,} of {cell.rows:,}" for name, cell in column.cells.items() if cell.n < cell.rows
        ]
        if partly:
            found.append(f"{column.name} covers, of its rows: {', '.join(partly)}")
        unread = [f"{name} {cell.unparsed:,}" for name, cell in column.cells.items() if cell.unparsed]
        if unread:
            found.append(f"{column.name}, answers that could not be read: {', '.join(unread)}")
        if len(column.cells) > 1 and not column.pairs:
            found.append(f"{column.name}: answers are neither right nor wrong, so nothing was tested")
    return found + [f"left out {path}: {reason}" for path, reason in board.left_out.items()]


def page_of(board: Leaderboard, title: str = "Leaderboard") -> Any:
    """The page: the table, a chart a column, and every pair tested. ImportError names the extra for charts."""
    from vitrail.reporting import DataTable, Notice, Page

    page = Page(title, f"{len(board.models)} models, {len(board.columns)} columns.")
    columns, rows = table(board)
    section = page.section("Models by benchmark", READ)
    section.add(DataTable(columns, rows))
    notes = remarks(board)
    if notes:
        section.add(Notice(". ".join(notes) + ".", "warning"))
    for column in board.columns:
        page.section(column.name, f"Headline: {column.figure}.").add(*_column(board, column))
    return page


def _column(board: Leaderboard, column: Column) -> list[Any]:
    from vitrail.reporting import Bars, DataTable

    names = [name for name in _ordered(board) if name in column.cells]
    cells = [column.cells[name] for name in names]
    share = cells[0].share
    shown: list[Any] = []
    if any(cell.value is not None for cell in cells):
        values = [
            None if cell.value is None else (cell.value, *(cell.interval or (cell.value, cell.value)))
            for cell in cells
        ]
        series: dict[str, Any] = {column.figure: values}
        if any(cell.blind is not None for cell in cells):
            series["without pictures"] = [cell.blind for cell in cells]
        guesses = (("random option", column.random), ("majority guess", column.majority))
        marks = {name: [value] * len(names) for name, value in guesses if value is not None}
        shown.append(Bars(f"{column.name}: {column.figure}", names, series, marks, percent=share))
    if column.pairs:
        scale, unit = (100, "points of accuracy") if share else (1, "nats a token, gained")
        rows = [
            (one.first, one.second, one.n, f"{scale * one.difference:+.3g}", f"{one.p:.3g}", f"{one.adjusted:.3g}",
             "differ" if one.adjusted < LEVEL else "tied")
            for one in column.pairs
        ]  # fmt: skip
        heads = ("first", "second", "questions of both", unit, "p", "p (Holm)", f"at level {LEVEL:g}")
        shown.append(DataTable(heads, rows, caption="Pairs, question by question"))
    return shown


def write_page(board: Leaderboard, out: Path | str) -> Path:
    """Write the page to ``out``; returns where. ImportError names the extra if matplotlib is missing."""
    from vitrail.reporting.plots import require

    require()
    return page_of(board).write(out)  # type: ignore[no-any-return]
