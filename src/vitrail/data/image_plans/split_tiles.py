"""A picture scaled to a longest edge, cut into square tiles with row and column markers: Idefics3, SmolVLM.

(Laurençon et al. 2024, "Building and better understanding vision-language models", section 2.2.3.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrail.data.image_plans.plan import (
    ImagePlan,
    Marker,
    Span,
    Visual,
    checked_size,
    grid_run,
    tile_grid,
    whole_tile,
)

LARGEST = 4096
"""No side is scaled beyond that, whatever the settings say."""


@dataclass(frozen=True)
class SplitTiles:
    """``longest_edge``: what a picture is scaled to; ``tile``: a tile's side in pixels; ``grid``: tokens along it.

    ``split`` False shows one tile of the whole picture; ``resize`` False leaves the picture's size as it is before the
    cut. Markers: ``around`` each tile, ``row_col`` with ``{row}`` and ``{col}`` from 1, ``whole`` for the picture as a
    whole, which comes last.
    """

    longest_edge: int
    tile: int
    grid: int
    split: bool = True
    resize: bool = True
    around: str = "<fake_token_around_image>"
    row_col: str = "<row_{row}_col_{col}>"
    whole: str = "<global-img>"

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels."""
        checked_size(width, height)
        rows, cols = self.layout(width, height)
        tiles = (*tile_grid(rows, cols, self.tile), whole_tile(self.tile))
        return ImagePlan((width, height), tiles, tuple(self._spans(rows, cols)))

    def layout(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of tiles; 0 and 0 for a picture that one tile holds."""
        if not self.split:
            return 0, 0
        if self.resize:
            width, height = self._scaled(width, height)
        aspect = width / height
        if width >= height:
            width = math.ceil(width / self.tile) * self.tile
            height = math.ceil(int(width / aspect) / self.tile) * self.tile
        else:
            height = math.ceil(height / self.tile) * self.tile
            width = math.ceil(int(height * aspect) / self.tile) * self.tile
        if height <= self.tile and width <= self.tile:
            return 0, 0
        return height // self.tile, width // self.tile

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        aspect = width / height
        if width >= height:
            width = self.longest_edge
            height = int(width / aspect)
            height += height % 2
        else:
            height = self.longest_edge
            width = int(height * aspect)
            width += width % 2
        width, height = max(width, 1), max(height, 1)
        aspect = width / height
        if width >= height and width > LARGEST:
            width, height = LARGEST, int(LARGEST / aspect)
        elif height > width and height > LARGEST:
            width, height = int(LARGEST * aspect), LARGEST
        return max(width, 1), max(height, 1)

    def _spans(self, rows: int, cols: int) -> list[Span]:
        spans: list[Span] = []
        newline = ""
        for row in range(rows):
            for col in range(cols):
                name = self.row_col.format(row=row + 1, col=col + 1)
                spans += [Marker(newline + self.around + name), self._run(row * cols + col)]
                newline = ""
            newline = "\n"
        last = "\n\n" if rows else ""
        spans += [Marker(last + self.around + self.whole), self._run(rows * cols), Marker(self.around)]
        return spans

    def _run(self, frame: int) -> Visual:
        return Visual(self._tokens + np.array([frame, 0, 0]))

    @cached_property
    def _tokens(self) -> np.ndarray:
        return grid_run(self.grid, self.grid)
