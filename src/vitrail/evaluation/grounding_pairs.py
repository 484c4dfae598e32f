"""Boxes in two pictures, in groups: MC-Bench's two metrics (Xu et al., arXiv 2410.12332).

*Instance level*: AP at an overlap of 0.5 as COCO's evaluator has it (area all, 100 boxes a picture, 101 points), for
each group by itself, weighted by the group's number of true boxes. Where a sample has several groups, predicted ones
are first matched to them so that the mean overlap of the boxes matched is the most. *Image level*: a sample is right if
for both pictures it is known whether there is a target at all.

COCO's evaluator is a dozen lines at one threshold and one area; written out, the core install needs no compiled package
(it equals pycocotools). Predicted groups beyond the true ones take a group that the sample does not have, or the last.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vitrail.geometry.boxes import convert, iou

OVERLAP, MOST = 0.5, 100
POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Box:
    """``xywh`` in pixels of picture ``image`` of the pair (0 or 1), in ``group`` (from 1)."""

    image: int
    xywh: tuple[float, float, float, float]
    group: int = 1
    score: float = 1.0


@dataclass(frozen=True)
class Pair:
    """One sample: what is there, and what was said."""

    truth: tuple[Box, ...]
    said: tuple[Box, ...]


def match_groups(truth: Sequence[Box], said: Sequence[Box]) -> tuple[Box, ...]:
    """``said`` with its groups renamed to those of ``truth``, all at once; as it is where ``truth`` has one group.

    Of every assignment of predicted groups to different true ones: the mean overlap of boxes that are matched best
    within group and picture. The first of equals is taken.
    """
    true = sorted({box.group for box in truth})
    named = sorted({box.group for box in said})
    if len(true) < 2 or not named:
        return tuple(said)
    few = min(len(true), len(named))
    best: tuple[float, dict[int, int]] = (-1.0, {})
    for chosen in itertools.combinations(named, few):
        for order in itertools.permutations(true, few):
            names = dict(zip(chosen, order, strict=True))
            value = _matched(truth, said, names)
            if value > best[0]:
                best = (value, names)
    names = best[1]
    free = [group for group in range(1, max(true) + 1) if group not in true] or [max(true)]
    return tuple(replace(box, group=names.get(box.group, free[0])) for box in said)


def _matched(truth: Sequence[Box], said: Sequence[Box], names: Mapping[int, int]) -> float:
    from scipy.optimize import linear_sum_assignment

    overlaps: list[float] = []
    for group, target in names.items():
        for image in (0, 1):
            ours = [box.xywh for box in truth if box.image == image and box.group == target]
            theirs = [box.xywh for box in said if box.image == image and box.group == group]
            if ours and theirs:
                table = _overlaps(theirs, ours)
                overlaps += table[linear_sum_assignment(table, maximize=True)].tolist()
    return float(np.mean(overlaps)) if overlaps else 0.0


def _overlaps(a: Sequence[Any], b: Sequence[Any]) -> np.ndarray:
    return iou(convert(a, "xywh", "xyxy"), convert(b, "xywh", "xyxy"))


def average_precision(pairs: Sequence[Pair], group: int) -> float | None:
    """AP at 0.5 of one group over all pictures; None where no true box is in it."""
    scores: list[float] = []
    hits: list[bool] = []
    count = 0
    for pair in pairs:
        for image in (0, 1):
            ours = [box for box in pair.truth if (box.image, box.group) == (image, group)]
            theirs = [box for box in pair.said if (box.image, box.group) == (image, group)]
            theirs = sorted(theirs, key=lambda box: -box.score)[:MOST]
            count += len(ours)
            scores += [box.score for box in theirs]
            hits += _hits(ours, theirs)
    if not count:
        return None
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.array(hits, bool)[order]
    true = np.cumsum(right)
    recall = true / count
    precision = true / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, POINTS, side="left")
    return float(sum(precision[place] for place in places if place < len(precision)) / len(POINTS))


def _hits(ours: Sequence[Box], theirs: Sequence[Box]) -> list[bool]:
    """Boxes by falling score, each with the unmatched true one that it overlaps most; the later of equals."""
    if not ours or not theirs:
        return [False] * len(theirs)
    table = _overlaps([box.xywh for box in theirs], [box.xywh for box in ours])
    taken: set[int] = set()
    found = []
    for row in table:
        best, least = -1, min(OVERLAP, 1 - 1e-10)
        for place, value in enumerate(row):
            if place not in taken and value >= least:
                best, least = place, value
        taken |= {best} - {-1}
        found.append(best >= 0)
    return found


def instance_ap(pairs: Sequence[Pair]) -> float | None:
    """AP50 over groups, each weighted by its true boxes; None where there is no true box at all."""
    matched = [replace(pair, said=match_groups(pair.truth, pair.said)) for pair in pairs]
    counts: dict[int, int] = {}
    for pair in matched:
        for box in pair.truth:
            counts[box.group] = counts.get(box.group, 0) + 1
    total = sum(counts.values())
    if not total:
        return None
    return sum(n / total * (average_precision(matched, group) or 0.0) for group, n in sorted(counts.items()))


def images_right(pair: Pair) -> bool:
    """Whether for both pictures it is right that there is a target, or none."""
    return all(
        any(box.image == image for box in pair.truth) == any(box.image == image for box in pair.said)
        for image in (0, 1)
    )
