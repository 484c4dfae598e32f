"""A table of results: models down, benchmarks across, and which models are tied.

A column holds figures that may be compared: the same version of the same questions, put, answered and read in the same
way. Results under another protocol get a column of their own, and the table says what differs. Two models are tied
in a column unless their answers, question by question, differ by more than chance: McNemar's exact test, signs flipped
picture by picture where questions share one, Holm's correction over all pairs of the column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from vitrail.evaluation.result_files import AS_IS, Result, find, labels
from vitrail.statistics.paired import holm, sign_flips

LEVEL = 0.05


@dataclass(frozen=True)
class Cell:
    """One model on one column: the headline figure with its 95 % interval, over ``n`` of ``rows`` questions.

    ``share``: the figure is one of 0 to 1; otherwise a loss, of which less is better. ``ranks``: the best and the worst
    place that the tests leave open; None where the answers are neither right nor wrong, so that nothing was tested.
    ``blind``: the figure of the same model without pictures.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: int
    rows: int
    unparsed: int
    share: bool
    path: str
    blind: float | None = None
    ranks: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pair:
    """Two models of a column on the ``n`` questions that both answered; ``adjusted`` is Holm's p."""

    first: str
    second: str
    n: int
    difference: float
    p: float
    adjusted: float


@dataclass
class Column:
    """One benchmark under one protocol. ``differs``: what sets it apart from columns of the same benchmark."""

    name: str
    figure: str
    protocol: dict[str, str]
    cells: dict[str, Cell]
    random: float | None = None
    majority: float | None = None
    differs: dict[str, str] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)


@dataclass(frozen=True)
class Leaderboard:
    """``models`` in the order of their names; ``left_out``: files that stand for nothing new, with the reason."""

    models: tuple[str, ...]
    columns: tuple[Column, ...]
    left_out: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def leaderboard(folder: Path | str) -> Leaderboard:
    """All results below ``folder``. ValueError where there are none, or none of questions as they are."""
    results = [Result.of(path) for path in find([folder])]
    asked = [one for one in results if one.transform == AS_IS]
    if not asked:
        raise ValueError(
            f"all results below {folder} are of changed questions (blind …); give those as they are"
        )
    left_out = {str(one.path): f"questions changed: {one.transform}" for one in results
                if one.transform not in (AS_IS, "blind")}  # fmt: skip
    blind = {_key(one, transform=AS_IS): one for one in results if one.transform == "blind"}
    kept: dict[str, Result] = {}
    for one in asked:
        if (there := kept.setdefault(_key(one), one)) is not one:
            better, worse = (one, there) if len(one.answers.rows) > len(there.answers.rows) else (there, one)
            kept[_key(one)] = better
            left_out[str(worse.path)] = f"the same model on the same questions as {better.path}"
    names = _names(list(kept.values()))
    groups: dict[str, dict[str, tuple[Result, Result | None]]] = {}
    for where, one in kept.items():
        column = json.dumps([one.benchmark, one.protocol], sort_keys=True)
        groups.setdefault(column, {})[names[where]] = one, blind.get(where)
    columns = [_column(some) for some in groups.values()]
    _tell_apart(columns)
    columns.sort(key=lambda column: column.name)
    return Leaderboard(tuple(sorted(set(names.values()))), tuple(columns), left_out)


def _key(one: Result, **changed: str) -> str:
    """What two files of the same model on the same column share."""
    protocol = {**one.protocol, **changed}
    plain = "untrained" if one.header["condition"] == "untrained" else ""
    return json.dumps([one.benchmark, protocol, one.model, plain], sort_keys=True)


def _names(results: Sequence[Result]) -> dict[str, str]:
    """A model's name is the same in every column."""
    first: dict[tuple[Any, ...], Result] = {}
    for one in results:
        first.setdefault((one.model, one.header["condition"] == "untrained"), one)
    named = dict(zip(first, labels(list(first.values())), strict=True))
    return {_key(one): named[one.model, one.header["condition"] == "untrained"] for one in results}


def _column(found: dict[str, tuple[Result, Result | None]]) -> Column:
    cells: dict[str, Cell] = {}
    baselines: tuple[float | None, float | None] = (None, None)
    for name, (result, blind) in sorted(found.items()):
        cells[name], baselines = _cell(result, blind), _baselines(result)
    first = next(iter(found.values()))[0]
    column = Column(first.benchmark, _headline(first)[0], first.protocol, cells, *baselines)
    answers = {name: found[name][0] for name in cells}
    column.pairs = _pairs(answers)
    if column.pairs:
        for name, cell in cells.items():
            cells[name] = Cell(**{**asdict(cell), "ranks": _ranks(name, len(cells), column.pairs)})
    return column


def _headline(one: Result) -> tuple[str, float | None, tuple[float, float] | None, bool]:
    """Name, value, interval, and whether it is a share: the official headline, or the share right."""
    scores = one.scores
    if scores.overall.loss is not None and scores.official is None:
        return "nats a token", scores.overall.loss, scores.overall.loss_interval, False
    if scores.official is not None and scores.official.figures:
        figure = scores.official.figures[0]
        return figure.name, figure.value, figure.interval, True
    return "right answers", scores.overall.accuracy, scores.overall.interval, True


def _cell(one: Result, blind: Result | None) -> Cell:
    _, value, interval, share = _headline(one)
    return Cell(
        value=value,
        interval=interval,
        n=one.scores.overall.n,
        rows=one.scores.rows + one.scores.unread,
        unparsed=one.scores.overall.unparsed,
        share=share,
        path=str(one.path),
        blind=None if blind is None else _headline(blind)[1],
    )


def _baselines(one: Result) -> tuple[float | None, float | None]:
    scores = one.scores
    if scores.official is not None and scores.official.figures:
        return scores.official.figures[0].random, scores.official.figures[0].majority
    return scores.overall.chance, scores.overall.majority


def _pairs(answers: dict[str, Result]) -> list[Pair]:
    """Every pair, tested on the questions that both answered; none where answers are neither right nor wrong."""
    if any(one.header["task"]["metric"]["name"] == "assessment" for one in answers.values()):
        return []
    found: list[tuple[str, str, int, float, float]] = []
    for one, other in combinations(answers, 2):
        theirs = {row["id"]: row for row in answers[other].answers.rows}
        both = [(row, theirs[row["id"]]) for row in answers[one].answers.rows if row["id"] in theirs]
        mine, yours = (
            [_worth(row) for row in side] for side in (zip(*both, strict=True) if both else ([], []))
        )
        p = sign_flips(mine, yours, [row["cluster"] for row, _ in both])
        difference = (sum(mine) - sum(yours)) / len(both) if both else 0.0
        found.append((one, other, len(both), difference, p))
    adjusted = holm([p for *_, p in found])
    return [Pair(*one, corrected) for one, corrected in zip(found, adjusted, strict=True)]


def _worth(row: dict[str, Any]) -> float:
    """More is better: right, or minus the loss."""
    return -float(row["loss"]) if row.get("loss") is not None else float(row["correct"])


def _ranks(name: str, n: int, pairs: Sequence[Pair]) -> tuple[int, int]:
    """One more than the models that are surely better, and all but those that are surely worse."""
    signs = [
        one.difference if one.first == name else -one.difference
        for one in pairs
        if name in (one.first, one.second) and one.adjusted < LEVEL
    ]
    return 1 + sum(sign < 0 for sign in signs), n - sum(sign > 0 for sign in signs)


def _tell_apart(columns: Sequence[Column]) -> None:
    """Columns of one benchmark say in which points of their protocol they differ."""
    for column in columns:
        same = [one for one in columns if one.name == column.name]
        column.differs = {
            point: value
            for point, value in column.protocol.items()
            if any(one.protocol[point] != value for one in same)
        }
    for name in {column.name for column in columns}:
        same = [one for one in columns if one.name == name]
        if len(same) > 1:
            for number, column in enumerate(same, 1):
                column.name = f"{name} #{number}"
