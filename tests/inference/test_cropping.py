"""A map → a box: equal to plain loops, inside the picture, as large as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vitrail.inference.cropping import (
    RATIOS,
    attention_ratio,
    box_around,
    select_crop,
    size_group,
    tile_boxes,
    tile_map,
)


def slow_crop(values, size, base, ratios=RATIOS):
    """Two loops over every window, as the method is told: columns outermost, a strict ``>``."""
    (rows, cols), (width, height) = values.shape, size
    best = None
    for ratio in ratios:
        wide = max(1, min(int(base * ratio / (width / cols)), cols))
        high = max(1, min(int(base * ratio / (height / rows)), rows))
        if wide == cols and high == rows:
            if ratio == 1:
                return (0, 0, width, height)
            continue
        sums, most, at = {}, -np.inf, None
        for x in range(cols - wide + 1):
            for y in range(rows - high + 1):
                sums[x, y] = values[y : y + high, x : x + wide].sum()
                if sums[x, y] > most:
                    most, at = sums[x, y], (x, y)
        x, y = at
        around = [sums[p] for p in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)) if p in sums]
        sharp = (most - sum(around) / len(around)) / (wide * high)
        if best is None or sharp > best[0]:
            best = sharp, x, y, wide, high, base * ratio
    _, x, y, wide, high, side = best
    centre = int((x + wide / 2) * width / cols), int((y + high / 2) * height / rows)
    return box_around(centre, side, size)


@pytest.mark.parametrize("seed", range(20))
def test_the_crop_equals_plain_loops(seed):
    draw = np.random.default_rng(seed)
    shape, size = draw.integers(3, 20, 2), tuple(int(one) for one in draw.integers(60, 900, 2))
    base = int(draw.integers(10, 300))
    # Multiples of 1/8, so that equal sums are equal whichever way they are added.
    values = draw.integers(0, 8, shape) / 8
    assert select_crop(values, size, base) == slow_crop(values, size, base)


def test_of_equal_windows_the_leftmost_then_the_topmost_is_taken():
    values = np.zeros((6, 6))
    values[4, 1] = values[1, 4] = 1.0
    assert select_crop(values, (60, 60), 10, (1,)) == (10, 40, 20, 50)


@pytest.mark.parametrize("cell", [(0, 0), (5, 9), (3, 4), (7, 0)])
def test_a_hot_cell_is_in_the_box_and_the_side_is_as_asked(cell):
    values = np.zeros((8, 10))
    values[cell] = 1.0
    left, top, right, bottom = select_crop(values, (500, 400), 100)
    row, col = cell
    assert left <= col * 50 and right >= (col + 1) * 50 and top <= row * 50 and bottom >= (row + 1) * 50
    assert left >= 0 and top >= 0 and right <= 500 and bottom <= 400
    sides = {int(100 * ratio) // 2 * 2 for ratio in RATIOS}
    assert right - left == bottom - top and right - left in sides


def test_a_small_picture_is_its_own_crop():
    assert select_crop(np.random.default_rng(0).random((4, 4)), (64, 48), 64) == (0, 0, 64, 48)


@pytest.mark.parametrize(
    ("values", "base", "ratios", "words"),
    [
        (np.full((2, 2), np.nan), 4, RATIOS, "not finite"),
        (np.zeros((0, 3)), 4, RATIOS, "at least one cell"),
        (np.ones((3, 3)), 0, RATIOS, "base is 0 pixels"),
        (np.ones((3, 3)), 4, (), "give at least one"),
    ],
)
def test_wrong_maps_and_settings_are_refused(values, base, ratios, words):
    with pytest.raises(ValueError, match=words):
        select_crop(values, (30, 30), base, ratios)


@pytest.mark.parametrize("size", [(2000, 1100), (300, 5000), (1024, 1024), (9, 4000)])
def test_tiles_cover_the_picture_and_are_alike(size):
    rows = tile_boxes(size)
    boxes = [box for row in rows for box in row]
    assert len({(right - left, bottom - top) for left, top, right, bottom in boxes}) == 1
    seen = np.zeros((size[1], size[0]), bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        seen[top:bottom, left:right] = True
    assert seen.all() and len(rows) == -(-size[1] // 1024)


def test_maps_of_tiles_lie_as_the_tiles():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[12:18, 22:28] = 255
    found = tile_map(Image.fromarray(pixels), lambda one: np.asarray(one)[::5, ::5, 0] / 255.0, 10)
    assert found.shape == (4, 8) and found.argmax() == np.ravel_multi_index((3, 5), (4, 8))
    with pytest.raises(ValueError, match="side of a tile is 0"):
        tile_boxes((4, 4), 0)


def test_the_attention_ratio():
    values = np.ones((4, 4))
    assert attention_ratio(values, (0, 0, 20, 20), (40, 40)) == pytest.approx(1)
    values[0, 0] = 5
    assert attention_ratio(values, (0, 0, 9, 9), (40, 40)) == pytest.approx(5 / (20 / 16))
    assert attention_ratio(values, (30, 30, 40, 40), (40, 40)) < 1
    with pytest.raises(ValueError, match="does not lie in a picture"):
        attention_ratio(values, (0, 0, 50, 10), (40, 40))
    with pytest.raises(ValueError, match="zero everywhere"):
        attention_ratio(np.zeros((4, 4)), (0, 0, 10, 10), (40, 40))


@pytest.mark.parametrize(("side", "group"), [(6, "small"), (7.08, "medium"), (22, "medium"), (23, "large")])
def test_groups_of_sizes(side, group):
    assert size_group((0, 0, side, side), (100, 100)) == group
