"""AP50 and image-level accuracy: known answers, swapped groups, orders, a slow reference; boxes in words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vitrail.evaluation.box_answers import read_boxes, scaled, written
from vitrail.evaluation.grounding_pairs import (
    POINTS,
    Box,
    Pair,
    average_precision,
    images_right,
    instance_ap,
    match_groups,
)
from vitrail.geometry.boxes import convert, iou


def drawn(rng, n, groups=1):
    return tuple(
        Box(
            int(rng.integers(2)),
            (*rng.uniform(0, 60, 2), *rng.uniform(10, 40, 2)),
            int(rng.integers(groups)) + 1,
        )
        for _ in range(n)
    )


def near(rng, truth):
    return tuple(
        replace(box, xywh=tuple(np.array(box.xywh) + rng.normal(0, 4, 4)), score=float(rng.random()))
        for box in truth
    )


def pairs(seed=0, n=12, groups=1):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        truth = drawn(rng, int(rng.integers(0, 5)), groups)
        made.append(Pair(truth, near(rng, truth) + near(rng, drawn(rng, int(rng.integers(0, 3)), groups))))
    return made


def slow(some, group):
    """Precision at each recall, one detection after the other."""
    found, total = [], 0
    for pair in some:
        for image in (0, 1):
            ours = [b for b in pair.truth if b.image == image and b.group == group]
            total += len(ours)
            free = set(range(len(ours)))
            for box in sorted(
                (b for b in pair.said if b.image == image and b.group == group), key=lambda b: -b.score
            ):
                both = {
                    n: float(
                        iou(convert([box.xywh], "xywh", "xyxy"), convert([ours[n].xywh], "xywh", "xyxy"))[
                            0, 0
                        ]
                    )
                    for n in free
                }
                best = max(both, key=both.get, default=None)
                hit = best is not None and both[best] >= 0.5
                free -= {best} if hit else set()
                found.append((box.score, hit))
    found.sort(key=lambda one: -one[0])
    points, right = [], 0
    for count, (_, hit) in enumerate(found, start=1):
        right += hit
        points.append((right / total, right / count))
    return float(np.mean([max((p for r, p in points if r >= t), default=0.0) for t in POINTS]))


def test_equals_a_slow_reference():
    for seed in range(6):
        some = pairs(seed)
        assert average_precision(some, 1) == pytest.approx(slow(some, 1), abs=1e-9)
        assert instance_ap(some) == average_precision(some, 1), "one group: the weighted AP is the plain one"


def test_truth_and_silence():
    rng = np.random.default_rng(1)
    some = [Pair(truth, truth) for truth in (drawn(rng, n % 4, 2) for n in range(8))]
    assert instance_ap(some) == 1 and all(map(images_right, some))
    silent = [replace(pair, said=()) for pair in some]
    assert instance_ap(silent) == 0 and sum(map(images_right, silent)) == sum(not pair.truth for pair in some)
    assert instance_ap([Pair((), ())]) is None


def test_groups_are_renamed_at_once():
    rng = np.random.default_rng(2)
    names = {1: 2, 2: 3, 3: 1}
    for _ in range(4):
        truth = tuple(replace(box, group=n % 3 + 1) for n, box in enumerate(drawn(rng, 9)))
        turned = tuple(replace(box, group=names[box.group]) for box in truth)
        assert match_groups(truth, turned) == truth and instance_ap([Pair(truth, turned)]) == 1
    two = tuple(replace(box, group=n % 2 + 1) for n, box in enumerate(drawn(rng, 4)))
    extra = tuple(replace(box, group=box.group + 4) for box in two) + (Box(0, (0, 0, 1, 1), 9),)
    assert instance_ap([Pair(two, extra)]) > 0.7


def test_orders_and_scales_of_scores_do_not_matter():
    some = pairs(3, groups=2)
    rng = np.random.default_rng(0)
    shuffled = [replace(pair, said=tuple(rng.permutation(np.array(pair.said, object)))) for pair in some]
    scaled_ = [
        replace(pair, said=tuple(replace(box, score=box.score / 7) for box in pair.said)) for pair in some
    ]
    assert instance_ap(some) == pytest.approx(instance_ap(shuffled)) == pytest.approx(instance_ap(scaled_))


def test_boxes_in_words():
    sizes = [(640, 480), (100, 300)]
    box = Box(1, (10.0, 30.0, 50.0, 120.0), 2)
    for form in ("pixels", "unit", "thousandths"):
        text = f"Sure:\n```json\n{json.dumps([written(box, sizes[1], form)])}\n```"
        (found,) = read_boxes(text, sizes, form)
        assert (found.image, found.group) == (1, 2)
        assert np.abs(np.array(found.xywh) - box.xywh).max() <= 2 * 300 / 2000, form
    assert read_boxes("[]", sizes, "pixels") == read_boxes("None of them.", sizes, "pixels") == ()
    assert read_boxes("I cannot tell", sizes, "pixels") is None
    (line,) = read_boxes("Image 1: (10, 20, 30, 60)", sizes, "pixels")
    assert line.xywh == (10, 20, 20, 40) and scaled((0, 0, 1, 0.5), sizes[0], "unit") == (0, 0, 640, 240)
