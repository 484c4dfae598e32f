"""A picture as one square tile and, for long pictures, crops along the longer side: Gemma 3.

(Gemma Team 2025, "Gemma 3 Technical Report", section 2.1: pan and scan.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrail.data.image_plans.plan import ImagePlan, Marker, Span, Tile, Visual, checked_size, grid_run


@dataclass(frozen=True)
class PanAndScan:
    """``size`` (width, height) of a tile in pixels, whose tokens are ``grid × grid``.

    ``crops``: cut crops of at least ``min_crop`` pixels, ``max_crops`` at most, from pictures whose aspect ratio
    reaches ``min_ratio``. ``begin`` and ``end`` stand around each tile; ``intro`` and ``outro`` around the first one
    when crops follow, which a space separates.
    """

    size: tuple[int, int]
    grid: int
    crops: bool = False
    min_crop: int = 256
    max_crops: int = 4
    min_ratio: float = 1.2
    begin: str = "\n\n<start_of_image>"
    end: str = "<end_of_image>\n\n"
    intro: str = "Here is the original image "
    outro: str = " and here are some crops to help you see better "

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels."""
        checked_size(width, height)
        boxes = self._crop_boxes(width, height)
        tiles = [Tile(box, self.size) for box in ((0.0, 0.0, 1.0, 1.0), *boxes)]
        spans: list[Span] = [Marker((self.intro if boxes else "") + self.begin), self._run(0)]
        for frame in range(1, len(tiles)):
            between = self.outro if frame == 1 else " "
            spans += [Marker(self.end + between + self.begin), self._run(frame)]
        return ImagePlan((width, height), tuple(tiles), (*spans, Marker(self.end)))

    def layout(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of crops; 0 and 0 where the picture is shown as a whole only."""
        longer, shorter = max(width, height), min(width, height)
        if not self.crops or longer / shorter < self.min_ratio:
            return 0, 0
        count = min(longer // self.min_crop, math.floor(longer / shorter + 0.5))
        count = min(self.max_crops, max(2, count))
        if min(math.ceil(longer / count), shorter) < self.min_crop:
            return 0, 0
        return (1, count) if width >= height else (count, 1)

    def _crop_boxes(self, width: int, height: int) -> list[tuple[float, float, float, float]]:
        rows, cols = self.layout(width, height)
        if not rows:
            return []
        high, wide = math.ceil(height / rows), math.ceil(width / cols)
        return [
            (
                col * wide / width,
                row * high / height,
                min(1.0, (col + 1) * wide / width),
                min(1.0, (row + 1) * high / height),
            )
            for row in range(rows)
            for col in range(cols)
        ]

    def _run(self, frame: int) -> Visual:
        return Visual(self._tokens + np.array([frame, 0, 0]))

    @cached_property
    def _tokens(self) -> np.ndarray:
        return grid_run(self.grid, self.grid)
