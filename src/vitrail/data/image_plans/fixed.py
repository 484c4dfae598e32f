"""One tile of one size, whatever the picture: LLaVA-1.5, PaliGemma, vitrail's own models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrail.data.image_plans.plan import ImagePlan, Marker, Span, Tile, Visual, checked_size, grid_run


@dataclass(frozen=True)
class Fixed:
    """Every picture becomes ``rows × cols`` tokens of one tile of ``size`` (width, height) pixels.

    ``shortest_edge``: the picture is first resized to it and then cropped at the centre, as CLIP's processors do; None
    for a picture that is resized as a whole. ``extra`` tokens without a place (a class token) come first, at −1, −1.
    ``cell_texts``: a text in front of each cell, in raster order; none by default. ``around``: tokens without a place
    in front of the grid and behind it (begin and end), at −1, −1 too.
    """

    rows: int
    cols: int
    size: tuple[int, int] = (0, 0)
    shortest_edge: int | None = None
    extra: int = 0
    cell_texts: tuple[str, ...] = ()
    around: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.cell_texts and (self.extra or len(self.cell_texts) != self.rows * self.cols):
            raise ValueError(
                f"cell_texts has {len(self.cell_texts)} texts for {self.rows} × {self.cols} cells and {self.extra} "
                "extra tokens; give one for each cell, and no extra tokens"
            )

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels."""
        checked_size(width, height)
        return ImagePlan((width, height), (Tile(self._box(width, height), self.size),), self._spans)

    @cached_property
    def _spans(self) -> tuple[Span, ...]:
        counts = (self.extra + self.around[0], self.around[1])
        before, behind = (np.tile(np.array([[0, -1, -1]]), (count, 1)) for count in counts)
        run = grid_run(self.rows, self.cols)
        if not self.cell_texts:
            return (Visual(np.concatenate([before, run, behind])),)
        pairs = [(Marker(text), Visual(run[n : n + 1])) for n, text in enumerate(self.cell_texts)]
        spans: list[Span] = [Visual(before), *(span for pair in pairs for span in pair), Visual(behind)]
        return tuple(span for span in spans if not isinstance(span, Visual) or len(span))

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        if self.shortest_edge is None:
            return (0.0, 0.0, 1.0, 1.0)
        scale = self.shortest_edge / min(width, height)
        across, down = self.size[0] / (width * scale), self.size[1] / (height * scale)
        return ((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2)
