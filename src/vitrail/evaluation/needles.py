"""Where is the needle? Reading and scoring answers of MMNeedle (Wang et al., arXiv 2406.11230).

The truth is ``"image, row, column"``, each from 1, several needles joined by ``"; "``; ``-1`` for one that is not
there. Of a question whose needle is there: *existence* (the answer is not −1), *index* (its first number), *exact* (all
of it). Of one whose needle is not: existence alone (the answer is −1). The published reading is strict, so that
``1,2,3`` without spaces is wrong; ``lenient`` takes the first three numbers of each group, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings

ABSENT = "-1"
_GROUP = re.compile(r"-?\d+, -?\d+, -?\d+")


@dataclass(frozen=True)
class Needle:
    """Of one answer: whether it tells that the needle is there or not, the image, all of it; ``shares`` over several
    needles: of images and of places that are right one by one.
    """

    existence: bool
    index: bool
    exact: bool
    first_index: bool
    first_exact: bool
    index_share: float
    exact_share: float


def truth(index: Sequence[int], row: Sequence[int], col: Sequence[int]) -> str:
    """The right answer of needles whose places count from 0."""
    groups = [
        ABSENT if i < 0 else f"{i + 1}, {r + 1}, {c + 1}" for i, r, c in zip(index, row, col, strict=True)
    ]
    return ABSENT if set(groups) == {ABSENT} else "; ".join(groups)


def normalised(text: str, lenient: bool = False) -> str:
    """An answer without line breaks, outer spaces and final full stops; ``lenient``: its numbers alone."""
    text = text.replace("\n", "").strip().rstrip(".").strip()
    if not lenient:
        return text
    groups = []
    for group in text.split(";"):
        numbers = re.findall(r"-?\d+", group)
        if numbers:
            groups.append(ABSENT if numbers[0] == ABSENT else ", ".join(numbers[:3]))
    return ABSENT if groups and set(groups) == {ABSENT} else "; ".join(groups)


def score_needle(answer: str, right: str, k: int = 1, lenient: bool = False) -> Needle:
    """One answer to ``k`` needles. ValueError for a truth that counts from 0."""
    if right != ABSENT and any(number == "0" for number in re.findall(r"-?\d+", right)):
        raise ValueError(f"the truth {right!r} counts from 0; images, rows and columns count from 1")
    said = normalised(answer, lenient)
    if right == ABSENT:
        denied = said in _denials(k)
        return Needle(denied, denied, denied, denied, denied, float(denied), float(denied))
    ours, theirs = _groups(right), _groups(said)
    pairs = list(zip(ours, theirs, strict=False))
    index = [_first(a) == _first(b) for a, b in pairs]
    exact = [a == b for a, b in pairs]
    return Needle(
        existence=said not in _denials(k),
        index=[_first(one) for one in ours] == [_first(one) for one in theirs],
        exact=said == right,
        first_index=index[0],
        first_exact=exact[0],
        index_share=sum(index) / len(pairs),
        exact_share=sum(exact) / len(pairs),
    )


def _denials(k: int) -> set[str]:
    if k == 1:
        return {ABSENT}
    several = [ABSENT] * k
    triples = "; ".join(["-1, -1, -1"] * k)
    return {ABSENT, "; ".join(several), ", ".join(several), "".join(several), triples}


def _groups(text: str) -> list[str]:
    return [group.strip() for group in text.split(";")]


def _first(group: str) -> str:
    return group.split(",")[0].strip()


class NeedleMetric:
    """An answer in words names the needle's place, all of it."""

    takes = "text"

    class Config(Settings):
        """``reading``: ``strict`` as published, or ``lenient``: the first three numbers of each group."""

        reading: Literal["strict", "lenient"] = "strict"

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``reference``."""
        lenient = self.config.reading == "lenient"
        found = score_needle(row["text"], row["reference"], row.get("groups", {}).get("k", 1), lenient)
        groups = _groups(normalised(row["text"], lenient))
        read = all(one == ABSENT or _GROUP.fullmatch(one) for one in groups)
        return Judgement(None, found.exact, read)


def said(row: Mapping[str, Any]) -> str:
    """What a row answers: its text, or the option that was ranked first."""
    if row.get("options"):
        return row["options"][row["prediction"]] if row.get("prediction") is not None else ""
    return row["text"]


def right(row: Mapping[str, Any]) -> str:
    """The truth of a row."""
    return row["options"][row["answer"]] if row.get("options") else row["reference"]


def needle_figures(rows: Rows) -> list[Figure]:
    """Exact, index and existence of needles that are there, existence of those that are not, and exact by depth.

    Rows are read strictly, and beside it leniently where that differs. ``random``: a place drawn at random. Questions
    for one part of a place (``groups["part"]``) have a figure each, behind these.
    """
    parts = by(rows, "there")
    there, absent = parts.get("True", []), parts.get("False", [])
    found = _accuracies("", there, False)
    found.append(_share("existence, absent needles", absent, lambda one: one.existence))
    if any(row.get("text") is not None for row in rows):
        found += _accuracies("lenient: ", there, True)[:1]
    if any(row["groups"]["k"] > 1 for row in there):
        found += [
            _share("exact, first needle", there, lambda one: one.first_exact),
            _share("index, first needle", there, lambda one: one.first_index),
            *_over_needles(there),
        ]
    for depth, some in sorted(by(there, "depth").items(), key=lambda pair: int(pair[0])):
        if some[0]["groups"]["m"] > 1:
            found.append(_share(f"exact in image {int(depth) + 1}", some, lambda one: one.exact))
    asked_apart = [accuracy(f"asked apart: {part}", some) for part, some in sorted(by(rows, "part").items())]
    return [*found, *asked_apart] if there or absent else asked_apart


def _accuracies(prefix: str, rows: Rows, lenient: bool) -> list[Figure]:
    exact = _share(f"{prefix}exact", rows, lambda one: one.exact, lenient)
    index = _share(f"{prefix}index", rows, lambda one: one.index, lenient)
    existence = _share(f"{prefix}existence", rows, lambda one: one.existence, lenient)
    if not rows or any(row.get("options") for row in rows):
        return [exact, index, existence]
    places = [row["groups"] for row in rows]
    k = [one["k"] for one in places]
    drawn = [1 / (one["m"] * one["n"] ** 2) ** one["k"] for one in places]
    image = [1 / one["m"] ** one["k"] for one in places]
    return [
        replace(exact, random=sum(drawn) / len(k)),
        replace(index, random=sum(image) / len(k)),
        existence,
    ]


def _share(name: str, rows: Rows, of: Any, lenient: bool = False) -> Figure:
    """The share of rows of which ``of`` their score; of a share of being right (a random option) that stays."""
    made = []
    for row in rows:
        if 0 < float(row["correct"]) < 1:
            made.append({**row, "correct": _by_chance(row, of)})
        else:
            made.append({**row, "correct": float(of(_score(row, lenient)))})
    return accuracy(name, made)


def _score(row: Mapping[str, Any], lenient: bool) -> Needle:
    return score_needle(said(row), right(row), row["groups"]["k"], lenient)


def _by_chance(row: Mapping[str, Any], of: Any) -> float:
    """Of an option drawn at random: the mean over all options."""
    truth_ = right(row)
    return float(np.mean([of(score_needle(one, truth_, row["groups"]["k"])) for one in row["options"]]))


def _over_needles(rows: Rows) -> list[Figure]:
    return [
        Figure(
            f"{name}, each needle",
            float(np.mean([getattr(_score(row, False), field) for row in rows])),
            None,
            len(rows),
        )
        for name, field in (("exact", "exact_share"), ("index", "index_share"))
    ]


def cell_map(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Exact accuracy by the needle's cell (rows, cols), NaN where none was, and how many there were.

    Of single needles that are there. ValueError for none, or grids of several sizes.
    """
    there = [row for row in rows if row["groups"]["there"] and row["groups"]["k"] == 1]
    sizes = {row["groups"]["n"] for row in there}
    if len(sizes) != 1:
        raise ValueError(f"a map needs single needles in grids of one size; the sizes are {sorted(sizes)}")
    n = sizes.pop()
    right_, count = np.zeros((n, n)), np.zeros((n, n), int)
    for row in there:
        place = row["groups"]["row"], row["groups"]["col"]
        right_[place] += _score(row, False).exact
        count[place] += 1
    with np.errstate(invalid="ignore"):
        return right_ / count, count
