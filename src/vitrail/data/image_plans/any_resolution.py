"""A picture as an overview and a canvas of tiles whose padding is cut away: LLaVA-NeXT, LLaVA-OneVision.

The canvas is the pinpoint (a multiple of the tile's side) that wastes least of the picture's resolution. After the
tower, the features of the padding are dropped and a learned newline ends each row (Liu et al. 2024, "LLaVA-NeXT").
LLaVA-OneVision scales a canvas down that has more features than ``max_tiles`` tiles (Li et al. 2024, ``anyres_max_9``),
and shows a picture that is not alone in its record as the overview only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.image_plans.plan import ImagePlan, Tile, Visual, checked_size, grid_run, whole_tile


@dataclass(frozen=True)
class AnyResolution:
    """``pinpoints`` ``((height, width), …)`` in pixels; ``tile``: a tile's side in pixels; ``grid``: tokens along it.

    ``max_tiles``: the canvas is scaled down beyond so many tiles' features. ``alone``: tiles are for a picture that is
    the only one of its record; others become the overview and one newline. ``extra`` tokens without a place (a class
    token) come before the overview's grid.

    Coordinates: frame 0 is the overview, frame 1 the canvas, with rows and columns counted over the whole canvas.
    """

    pinpoints: tuple[tuple[int, int], ...]
    tile: int
    grid: int
    max_tiles: int | None = None
    alone: bool = False
    extra: int = 0

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels that is alone in its record."""
        checked_size(width, height)
        canvas = self.canvas(width, height)
        rows, cols = canvas[0] // self.tile, canvas[1] // self.tile
        high, wide = self._unpadded(width, height, rows, cols)
        runs = np.concatenate([self._overview(), _with_newlines(high, wide)])
        overview = whole_tile(self.tile)
        return ImagePlan((width, height), (overview, *self._tiles(width, height, canvas)), (Visual(runs),))

    def several(self, sizes: Sequence[tuple[int, int]]) -> list[ImagePlan]:
        """The plans of all pictures (width, height) of one record."""
        if not self.alone or len(sizes) == 1:
            return [self(*size) for size in sizes]
        run = Visual(np.concatenate([self._overview(), [[0, self.grid, -1]]]))
        plans = []
        for width, height in sizes:
            checked_size(width, height)
            side = max(width, height)  # padded to a square, then resized
            across, down = side / width, side / height
            box = ((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2)
            plans.append(ImagePlan((width, height), (Tile(box, (self.tile, self.tile)),), (run,)))
        return plans

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """The pinpoint (height, width) that keeps most of the picture's pixels and wastes least."""
        best, most, least = self.pinpoints[0], 0, math.inf
        for high, wide in self.pinpoints:
            scale = min(wide / width, high / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            wasted = high * wide - shown
            if shown > most or (shown == most and wasted < least):
                best, most, least = (high, wide), shown, wasted
        return best

    def _overview(self) -> np.ndarray:
        extra = np.tile(np.array([[0, -1, -1]]), (self.extra, 1))
        return np.concatenate([extra, grid_run(self.grid, self.grid)])

    def _unpadded(self, width: int, height: int, rows: int, cols: int) -> tuple[int, int]:
        high, wide = self.grid * rows, self.grid * cols
        # The expressions, and the rounding to 7 places, are those of transformers: counts must not differ by one.
        if width / height > wide / high:
            kept = int(round(height * (wide / width), 7))
            high -= (high - kept) // 2 * 2
        else:
            kept = int(round(width * (high / height), 7))
            wide -= (wide - kept) // 2 * 2
        if self.max_tiles is not None:
            ratio = math.sqrt(high * wide / (self.max_tiles * self.grid**2))
            if ratio > 1.1:
                high, wide = int(high // ratio), int(wide // ratio)
        return high, wide

    def _tiles(self, width: int, height: int, canvas: tuple[int, int]) -> list[Tile]:
        high, wide = canvas
        if wide / width < high / height:
            shown_wide, shown_high = wide, min(math.ceil(height * (wide / width)), high)
        else:
            shown_wide, shown_high = min(math.ceil(width * (high / height)), wide), high
        left, top = (wide - shown_wide) // 2, (high - shown_high) // 2
        return [
            Tile(
                (
                    (x - left) / shown_wide,
                    (y - top) / shown_high,
                    (x + self.tile - left) / shown_wide,
                    (y + self.tile - top) / shown_high,
                ),
                (self.tile, self.tile),
            )
            for y in range(0, high, self.tile)
            for x in range(0, wide, self.tile)
        ]


def _with_newlines(rows: int, cols: int) -> np.ndarray:
    """Frame 1 of ``rows × cols`` with a newline (column −1) behind each row."""
    col = np.append(np.arange(cols), -1)
    row, col = np.repeat(np.arange(rows), cols + 1), np.tile(col, rows)
    return np.stack([np.ones_like(row), row, col], axis=1)
