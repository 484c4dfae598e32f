"""Two files of answers to the same questions, compared question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import Answers, read_answers
from vitrail.evaluation.scores import grouped
from vitrail.statistics.intervals import paired_difference
from vitrail.statistics.paired import sign_flips


@dataclass(frozen=True)
class Difference:
    """The first's share of right answers less the second's over ``n`` questions that both answered.

    ``interval`` is the 95 % one, over pictures; None for fewer than two pictures. ``only_first`` and
    ``only_second`` count questions that one of them alone got right. ``p`` is two-sided: McNemar's exact value, and
    where questions share a picture, that of flipping signs picture by picture.
    """

    n: int
    clusters: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """The difference overall (None without common questions) and by kind of question.

    ``unpaired`` counts questions that only one of the files answers; they are left out.
    """

    first: str
    second: str
    unpaired: int
    overall: Difference | None
    by_kind: dict[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare(first: Path | str, second: Path | str) -> Comparison:
    """Compare two files of answers, paired by question. ValueError if their scenarios differ."""
    a, b = read_answers(first), read_answers(second)
    require_same_questions(a, b)
    rows = _pairs(a, b)
    return Comparison(
        first=f"{a.header['task']['name']}/{a.header['condition']}",
        second=f"{b.header['task']['name']}/{b.header['condition']}",
        unpaired=len(a.rows) + len(b.rows) - 2 * len(rows),
        overall=difference(rows) if rows else None,
        by_kind={kind: difference(some) for kind, some in grouped(rows, "kind").items()},
    )


def require_same_questions(a: Answers, b: Answers) -> None:
    """ValueError for answers to other questions, or to other versions of them."""
    if a.header["fingerprints"]["scenario"] != b.header["fingerprints"]["scenario"]:
        raise ValueError(
            f"{a.path} answers {a.header['source']!r} and {b.path} {b.header['source']!r}: "
            "other questions, or other versions of them; only answers to the same ones can be compared"
        )


def paired(a: Answers, b: Answers) -> Difference | None:
    """The difference over all questions that both answered, as right or wrong; None where there are none."""
    rows = _pairs(a, b)
    return difference(rows) if rows and not any("loss" in row for row in rows) else None


def _pairs(a: Answers, b: Answers) -> list[dict[str, Any]]:
    others = {row["id"]: row for row in b.rows}
    return [{**row, "other": others[row["id"]]["correct"]} for row in a.rows if row["id"] in others]


def difference(rows: Sequence[dict[str, Any]]) -> Difference:
    """Of rows with ``correct``, ``other`` (whether the second is right) and ``cluster``."""
    mine, theirs = [bool(row["correct"]) for row in rows], [bool(row["other"]) for row in rows]
    clusters = [row["cluster"] for row in rows]
    interval = None
    if len(set(clusters)) > 1:
        found = paired_difference([float(x) for x in mine], [float(x) for x in theirs], clusters)
        interval = (found.low, found.high)
    share, other = sum(mine) / len(rows), sum(theirs) / len(rows)
    return Difference(
        n=len(rows),
        clusters=len(set(clusters)),
        first=share,
        second=other,
        difference=share - other,
        interval=interval,
        only_first=sum(x and not y for x, y in zip(mine, theirs, strict=True)),
        only_second=sum(y and not x for x, y in zip(mine, theirs, strict=True)),
        p=sign_flips(mine, theirs, clusters),
    )
