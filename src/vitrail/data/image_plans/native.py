"""A picture at its own resolution, sides rounded to whole tokens: Qwen2-VL, Qwen2.5-VL, Qwen3-VL.

Both sides become multiples of ``patch · merge`` pixels, and the area lies between ``min_pixels`` and ``max_pixels``
(Wang et al. 2024, "Qwen2-VL", naive dynamic resolution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vitrail.data.image_plans.plan import ImagePlan, Tile, Visual, checked_size, grid_run

MAX_ASPECT = 200
"""The processors refuse pictures that are longer than that by their other side."""


@dataclass(frozen=True)
class NativeResolution:
    """``patch``: a patch's side in pixels; ``merge × merge`` patches become one token; limits in pixels."""

    patch: int
    merge: int
    min_pixels: int
    max_pixels: int

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels. ValueError for an aspect ratio above 200."""
        checked_size(width, height)
        high, wide = self.resized(width, height)
        side = self.patch * self.merge
        run = Visual(grid_run(high // side, wide // side))
        return ImagePlan((width, height), (Tile((0.0, 0.0, 1.0, 1.0), (wide, high)),), (run,))

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Height and width in pixels as the tower gets them."""
        aspect = max(width, height) / min(width, height)
        if aspect > MAX_ASPECT:
            raise ValueError(
                f"a picture of {width} × {height} pixels has an aspect ratio of {aspect:.0f}; this model takes at most "
                f"{MAX_ASPECT}. Crop it, or set the record aside"
            )
        side = self.patch * self.merge
        high, wide = round(height / side) * side, round(width / side) * side
        if high * wide > self.max_pixels:
            beta = math.sqrt((height * width) / self.max_pixels)
            high = max(side, math.floor(height / beta / side) * side)
            wide = max(side, math.floor(width / beta / side) * side)
        elif high * wide < self.min_pixels:
            beta = math.sqrt(self.min_pixels / (height * width))
            high, wide = math.ceil(height * beta / side) * side, math.ceil(width * beta / side) * side
        return high, wide
