"""From a map of importance over a picture to the box that is cropped, and what such maps are measured by (ViCrop).

Zhang et al. 2025, "MLLMs Know Where to Look" (arXiv 2502.17422). Boxes are left, top, right, bottom in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image as PILImage

Box = tuple[int, int, int, int]
Size = tuple[int, int]
RATIOS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
TILE = 1024
"""Pixels of a tile's side where a large picture is looked at in tiles."""


def select_crop(
    importance: Float[np.ndarray, "rows cols"], size: Size, base: int, ratios: Sequence[float] = RATIOS
) -> Box:
    """The crop of a picture of ``size`` (width, height) whose window stands out most from its neighbours.

    A window's side is ``base · ratio`` pixels. For each ratio the window of the largest sum S* is found (of equal ones
    the leftmost, then the topmost); taken is the ratio with the largest ``(S* − mean of the sums one cell to the left,
    right, up and down) / cells``. If the first ratio's window covers the whole map, the box is the whole picture.
    ValueError for a map that is not finite or has no cell, a base below 1, or no ratio.
    """
    importance = _checked_map(importance)
    (rows, cols), (width, height) = importance.shape, size
    if base < 1:
        raise ValueError(f"base is {base} pixels; give the side of the smallest crop, 1 or more")
    if not ratios or min(ratios) <= 0:
        raise ValueError(f"ratios is {list(ratios)}; give at least one, all above 0")
    best: tuple[float, Box] | None = None
    for number, ratio in enumerate(ratios):
        side = base * ratio
        wide = max(1, min(int(side / (width / cols)), cols))
        high = max(1, min(int(side / (height / rows)), rows))
        if (high, wide) == (rows, cols):
            if number == 0:
                return (0, 0, width, height)
            continue
        sums = window_sums(importance, high, wide)
        x, y = divmod(int(np.argmax(sums.T)), sums.shape[0])
        around = [(y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)]
        there = [sums[j, i] for j, i in around if 0 <= j < sums.shape[0] and 0 <= i < sums.shape[1]]
        sharpness = float(sums[y, x] - np.mean(there)) / (high * wide)
        if best is None or sharpness > best[0]:
            centre = int((x + wide / 2) * width / cols), int((y + high / 2) * height / rows)
            best = sharpness, box_around(centre, side, size)
    return (0, 0, width, height) if best is None else best[1]


def window_sums(
    values: Float[np.ndarray, "rows cols"], high: int, wide: int
) -> Float[np.ndarray, "down across"]:
    """The sum of every window of ``high × wide`` cells, by where its upper left cell is."""
    table = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return table[high:, wide:] - table[:-high, wide:] - table[high:, :-wide] + table[:-high, :-wide]


def box_around(centre: tuple[int, int], side: float, size: Size) -> Box:
    """The square of ``side`` pixels around ``centre``, moved inwards and then cut where the picture ends."""
    half, edges = int(side) // 2, []
    for at, length in zip(centre, size, strict=True):
        at = min(max(at, half), length - half) if length >= 2 * half else length // 2
        edges.append((max(at - half, 0), min(max(at + half, at + 1), length)))
    (left, right), (top, bottom) = edges
    return (left, top, right, bottom)


def tile_boxes(size: Size, threshold: int = TILE) -> list[list[Box]]:
    """Rows of equal tiles of about ``threshold`` pixels that cover a picture: ``ceil(height / threshold)`` rows, and as
    many columns as its aspect asks for, at least one.
    """
    if threshold < 1:
        raise ValueError(f"the side of a tile is {threshold} pixels; give 1 or more")
    width, height = size
    rows = math.ceil(height / threshold)
    cols = max(1, int(rows * width / height))
    wide, high = math.ceil(width / cols), math.ceil(height / rows)
    lefts = [min(col * wide, width - wide) for col in range(cols)]
    tops = [min(row * high, height - high) for row in range(rows)]
    return [[(left, top, left + wide, top + high) for left in lefts] for top in tops]


def tile_map(
    image: PILImage.Image,
    look: Callable[[PILImage.Image], Float[np.ndarray, "rows cols"]],
    threshold: int = TILE,
) -> Float[np.ndarray, "all_rows all_cols"]:
    """The maps that ``look`` gives for the tiles of a picture, put together as the tiles lie."""
    boxes = tile_boxes(image.size, threshold)
    return np.block([[_checked_map(look(image.crop(box))) for box in row] for row in boxes])


def attention_ratio(importance: Float[np.ndarray, "rows cols"], box: Sequence[float], size: Size) -> float:
    """How much more importance lies in ``box`` than in a box of its size elsewhere: above 1, the model looks there.

    The sum in the cells that the box touches, divided by the mean of the sums of all windows of as many cells.
    """
    importance = _checked_map(importance)
    (rows, cols), (width, height) = importance.shape, size
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box {tuple(box)} does not lie in a picture of {width} × {height} pixels")
    x1, x2 = int(left * cols // width), math.ceil(right * cols / width)
    y1, y2 = int(top * rows // height), math.ceil(bottom * rows / height)
    mean = float(window_sums(importance, y2 - y1, x2 - x1).mean())
    if mean <= 0:
        raise ValueError("the map is zero everywhere, so it points nowhere")
    return float(importance[y1:y2, x1:x2].sum()) / mean


def size_group(box: Sequence[float], size: Size) -> Literal["small", "medium", "large"]:
    """The group of an answer's box by its share of the picture's area: below 0.005, below 0.05, or more."""
    left, top, right, bottom = box
    share = (right - left) * (bottom - top) / (size[0] * size[1])
    return "small" if share < 0.005 else "medium" if share < 0.05 else "large"


def _checked_map(importance: np.ndarray) -> np.ndarray:
    if importance.ndim != 2 or not importance.size:
        raise ValueError(f"the map has the shape {importance.shape}; give rows × cols, at least one cell")
    if not np.isfinite(importance).all():
        raise ValueError(
            "the map holds values that are not finite; the model's attention or gradient overflowed"
        )
    return importance
