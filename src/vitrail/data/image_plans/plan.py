"""The seam *image plan*: the size of a picture → its tiles and its tokens, before any pixel is read.

Encoding, packing and cost estimates need the count; surgery and reports need to know which tile, row and column a
token stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A view of the picture that the tower sees as one image.

    ``box`` is left, top, right, bottom in fractions of the original picture (a thumbnail has ``(0, 0, 1, 1)``);
    ``size`` is width and height in pixels as the tower gets them, padding included.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]


@dataclass(frozen=True)
class Visual:
    """A run of placeholder positions that receive features.

    ``coords`` ``(count, 3)``: frame or tile, row and column of each token. A learned separator that a model puts among
    the features (LLaVA-NeXT's newline) stands at column −1.
    """

    coords: np.ndarray

    def __len__(self) -> int:
        return len(self.coords)


@dataclass(frozen=True)
class Marker:
    """Tokens of the model's own around features, as text with special tokens: ``"<row_1_col_1>"``."""

    text: str


Span = Visual | Marker


@dataclass(frozen=True)
class ImagePlan:
    """What one picture becomes: its tiles in the order of their pixels, its spans in the order of the sequence."""

    size: tuple[int, int]
    tiles: tuple[Tile, ...]
    spans: tuple[Span, ...]

    @cached_property
    def num_tokens(self) -> int:
        """Placeholder positions, which receive features; markers are not counted."""
        return sum(len(span) for span in self.spans if isinstance(span, Visual))

    @cached_property
    def coords(self) -> np.ndarray:
        """``(num_tokens, 3)``: frame or tile, row and column of each placeholder position."""
        runs = [span.coords for span in self.spans if isinstance(span, Visual)]
        return np.concatenate(runs) if runs else np.zeros((0, 3), dtype=np.int64)


@runtime_checkable
class ImagePlanner(Protocol):
    """Plans pictures of any size."""

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels. ValueError for a size that cannot be shown."""
        ...


def grid_run(rows: int, cols: int, tile: int = 0) -> np.ndarray:
    """Coordinates of a full grid in raster order: ``(rows · cols, 3)``."""
    row, col = np.divmod(np.arange(rows * cols), cols)
    return np.stack([np.full_like(row, tile), row, col], axis=1)


def tile_grid(rows: int, cols: int, side: int) -> list[Tile]:
    """The square tiles of a picture cut evenly into ``rows`` × ``cols``, row after row, each ``side`` pixels wide."""
    return [
        Tile((col / cols, row / rows, (col + 1) / cols, (row + 1) / rows), (side, side))
        for row in range(rows)
        for col in range(cols)
    ]


def whole_tile(side: int) -> Tile:
    """The square tile that shows the whole picture."""
    return Tile((0.0, 0.0, 1.0, 1.0), (side, side))


def plans_of(planner: ImagePlanner, sizes: Sequence[tuple[int, int]]) -> list[ImagePlan]:
    """The plans of all pictures (width, height) of one record, in order.

    A planner whose pictures depend on each other has ``several(sizes)``; all others plan each by itself.
    """
    several = getattr(planner, "several", None)
    return several(sizes) if several is not None else [planner(*size) for size in sizes]


def checked_size(width: int, height: int) -> None:
    """ValueError for a picture without pixels."""
    if width < 1 or height < 1:
        raise ValueError(
            f"a picture of {width} × {height} pixels cannot be shown; both sides must be 1 or more"
        )
