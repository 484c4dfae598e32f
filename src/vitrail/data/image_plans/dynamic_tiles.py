"""A picture cut into a grid of square tiles near its aspect ratio, with a thumbnail: InternVL, Ovis2.

InternVL takes the grid of ``min_tiles`` to ``max_tiles`` whose aspect ratio is nearest, and more tiles among equals
while the picture has the pixels for them (Chen et al. 2024, "InternVL 1.5"). Ovis2 takes the fewest tiles that cover
90 % of the picture's area.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

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

Grid = tuple[int, int]


@dataclass(frozen=True)
class DynamicTiles:
    """``tile``: a tile's side in pixels; ``grid``: tokens along it; ``crop`` False shows one tile only.

    ``choice``: how the grid is chosen, ``"aspect"`` or ``"covering"``. A grid of more than one tile gets a thumbnail of
    the whole picture, ``thumbnail`` ``"first"`` or ``"last"``. Markers stand around and between the tiles' tokens:
    ``begin``, ``after_thumbnail`` (written without a grid, too), ``between_cols``, ``between_rows``, ``end``.
    """

    tile: int
    grid: int
    crop: bool
    min_tiles: int
    max_tiles: int
    choice: Literal["aspect", "covering"]
    thumbnail: Literal["first", "last"]
    begin: str
    end: str
    after_thumbnail: str = ""
    between_cols: str = ""
    between_rows: str = ""

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels."""
        checked_size(width, height)
        rows, cols = self.layout(width, height)
        tiles, whole = tile_grid(rows, cols, self.tile), whole_tile(self.tile)
        if rows * cols == 1:
            tiles = [whole]
        else:
            tiles = [whole, *tiles] if self.thumbnail == "first" else [*tiles, whole]
        return ImagePlan((width, height), tuple(tiles), tuple(self._spans(rows, cols)))

    def layout(self, width: int, height: int) -> Grid:
        """Rows and columns of tiles, the thumbnail not counted."""
        if not self.crop or self.max_tiles <= 1:
            return 1, 1
        if self.choice == "covering":
            return _covering(width, height, self.tile, self.max_tiles)
        return _nearest_aspect(width, height, self.tile, self.min_tiles, self.max_tiles)

    def _spans(self, rows: int, cols: int) -> list[Span]:
        runs = self._runs(rows * cols + 1 if rows * cols > 1 else 1)
        spans: list[Span] = [Marker(self.begin), next(runs), Marker(self.after_thumbnail)]
        for row in range(rows if rows * cols > 1 else 0):
            for col in range(cols):
                spans.append(next(runs))
                if col < cols - 1:
                    spans.append(Marker(self.between_cols))
            if row < rows - 1:
                spans.append(Marker(self.between_rows))
        spans.append(Marker(self.end))
        return [span for span in spans if not isinstance(span, Marker) or span.text]

    def _runs(self, count: int) -> Iterator[Visual]:
        for frame in range(count):
            yield Visual(self._tokens + np.array([frame, 0, 0]))

    @cached_property
    def _tokens(self) -> np.ndarray:
        return grid_run(self.grid, self.grid)


@lru_cache(maxsize=64)
def _grids(fewest: int, most: int) -> list[Grid]:
    """Columns and rows of every grid of ``fewest`` to ``most`` tiles, fewest tiles first, as in transformers."""
    sides = range(1, most + 1)
    found = [(across, down) for across in sides for down in sides if fewest <= across * down <= most]
    return sorted(found, key=lambda grid: grid[0] * grid[1])


def _nearest_aspect(width: int, height: int, tile: int, fewest: int, most: int) -> Grid:
    aspect, area = width / height, width * height
    nearest, best = math.inf, (1, 1)
    for grid in _grids(fewest, most):
        difference = abs(aspect - grid[0] / grid[1])
        if difference < nearest:
            nearest, best = difference, grid
        elif difference == nearest and area > 0.5 * tile * tile * grid[0] * grid[1]:
            best = grid
    return best[1], best[0]


def _covering(width: int, height: int, tile: int, most: int, threshold: float = 0.9) -> Grid:
    """Transformers measures a grid of *rows × columns* and then uses it as *columns × rows*; so does this."""
    measured = [(grid, _covered(width, height, grid, tile)) for grid in _grids(1, most)]
    enough = [one for one in measured if one[1] > threshold]
    if enough:
        cols, rows = min(enough, key=lambda one: (one[0][0] * one[0][1], -one[1]))[0]
    else:
        cols, rows = min(measured, key=lambda one: (-one[1], one[0][0] * one[0][1]))[0]
    return rows, cols


def _covered(width: int, height: int, grid: Grid, tile: int) -> float:
    """The part of the picture's area that is left when each cell of the grid is scaled to fit a tile."""
    rows, cols = grid
    high, wide = height // rows, width // cols
    total = 0.0
    for row in range(rows):
        for col in range(cols):
            w = wide if col < cols - 1 else width - col * wide
            h = high if row < rows - 1 else height - row * high
            longer, shorter = max(w, h), min(w, h)
            total += tile * (shorter / longer * tile) if longer > tile else longer * shorter
    return total / (width * height)
