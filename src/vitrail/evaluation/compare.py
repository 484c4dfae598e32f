"""Two files of answers to the same questions, compared question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.scores import grouped
from vitrail.statistics.intervals import paired_difference
from vitrail.statistics.paired import mcnemar


@dataclass(frozen=True)
class Difference:
    """The first's share of right answers less the second's over ``n`` questions that both answered.

    ``interval`` is the 95 % one, over pictures; None for fewer than two pictures. ``only_first`` and
    ``only_second`` count questions that one of them alone got right, ``p`` is McNemar's exact two-sided value
    for these.
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
    if a.header["fingerprints"]["scenario"] != b.header["fingerprints"]["scenario"]:
        raise ValueError(
            f"{a.path} answers {a.header['source']!r} and {b.path} {b.header['source']!r}: "
            "other questions, or other versions of them; only answers to the same ones can be compared"
        )
    others = {row["id"]: row for row in b.rows}
    pairs = [(row, others[row["id"]]) for row in a.rows if row["id"] in others]
    rows = [{**row, "other": other["correct"]} for row, other in pairs]
    return Comparison(
        first=f"{a.header['task']['name']}/{a.header['condition']}",
        second=f"{b.header['task']['name']}/{b.header['condition']}",
        unpaired=len(a.rows) + len(b.rows) - 2 * len(pairs),
        overall=_difference(rows) if rows else None,
        by_kind={kind: _difference(some) for kind, some in grouped(rows, "kind").items()},
    )


def _difference(rows: Sequence[dict[str, Any]]) -> Difference:
    mine, theirs = [bool(row["correct"]) for row in rows], [bool(row["other"]) for row in rows]
    clusters = [row["cluster"] for row in rows]
    test = mcnemar(mine, theirs)
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
        only_first=test.only_first,
        only_second=test.only_second,
        p=test.p,
    )
