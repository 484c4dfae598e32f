"""The official score of a file of answers: its benchmark's figures, circular ones, what it covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitrail import registry
from vitrail.evaluation.answers import Answers, reasons
from vitrail.evaluation.circular import all_round, circular_score, whole_questions
from vitrail.evaluation.figures import Figure, Official, Rows, accuracy, with_baselines


def official_score(answers: Answers) -> Official | None:
    """The score of a benchmark's own protocol; None where the questions are no benchmark's and were asked once.

    Of a benchmark whose protocol is not circular, but which was asked so, the official figures are those of the first
    turn, and the circular accuracy stands behind them.
    """
    name, circular = answers.header.get("benchmark"), bool(answers.header.get("circular"))
    if name is None and not circular:
        return None
    benchmark = registry.get("benchmark", name) if name is not None else None
    rows = answers.rows
    if circular and not (benchmark and benchmark.circular):
        rows = [row for row in rows if row["groups"]["turn"] == 0]
    figures = benchmark.figures if benchmark else _plain
    found = list(with_baselines(figures, rows))
    notes = [*(benchmark.notes if benchmark else ()), *(benchmark.remarks(rows) if benchmark else ())]
    if circular:
        ranked = [row for row in answers.rows if row["options"]]
        found += with_baselines(_circular, ranked) if not (benchmark and benchmark.circular) else ()
        notes += _positions(ranked)
    total, answered, left_out, missing = _covered(answers, circular)
    return Official(
        benchmark=name or answers.header["source"],
        figures=tuple(found),
        rows=total,
        answered=answered,
        left_out=left_out,
        missing=missing,
        reasons=reasons([_short(row) for row in answers.set_aside]),
        not_run=_not_run(answers),
        notes=tuple(notes),
    )


def _covered(answers: Answers, circular: bool) -> tuple[int, int, int, int]:
    """Rows of the files; of these answered, left out, and not asked yet. A question in all its turns is one row."""
    unread = sum(row["type"] == "unread" for row in answers.set_aside)
    total, answered = answers.header["rows"] + unread, len(answers.rows)
    left_out = len(answers.set_aside)
    if circular:
        total = answers.header["questions"] + unread
        answered = len(whole_questions(answers.rows)[0])
        aside = {
            row.get("groups", {}).get("of", row["id"]) for row in answers.set_aside if row["type"] != "unread"
        }
        left_out = unread + len(aside)
    return total, answered, left_out, total - answered - left_out


def _plain(rows: Rows) -> list[Figure]:
    return [accuracy("overall", rows)]


def _circular(rows: Rows) -> list[Figure]:
    return [accuracy("circular", all_round([dict(row) for row in rows]))]


def _positions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the rotations say of a model that prefers a place."""
    if not whole_questions(rows)[0]:
        return []
    found = circular_score(rows)
    shares = ", ".join(f"{100 * share:.1f}" for share in found.by_position)
    lacking = f"; {found.incomplete} questions lack a rotation" if found.incomplete else ""
    return [
        f"{100 * found.vanilla:.1f} % once, {100 * found.circular:.1f} % under every rotation; right by the place of "
        f"the right option: {shares} % (standard deviation {100 * found.bias:.1f}){lacking}"
    ]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A reason without the names in it, so that a thousand missing pictures are one line."""
    reason = row["reason"]
    for quote in ("'", '"'):
        pieces = reason.split(quote)
        reason = "…".join(pieces[0::2]) if len(pieces) > 2 else reason
    return {**row, "reason": reason}


def _not_run(answers: Answers) -> tuple[str, ...]:
    """The kinds of question that were set aside as a whole."""
    done = {row["kind"] for row in answers.rows}
    kinds = dict.fromkeys(row["kind"] for row in answers.set_aside if row.get("kind"))
    return tuple(kind for kind in kinds if kind not in done)
