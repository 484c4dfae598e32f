"""What a picture costs after its connector was replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.image_plans.plan import ImagePlan, ImagePlanner, Marker, Span, Visual, grid_run, plans_of
from vitrail.models.connectors.connector import Connector


@dataclass(frozen=True)
class ReconnectedPlanner:
    """The plans of ``inner`` with the tokens of another connector.

    ``scale`` tower tokens lie along one side of a visual token of ``inner``. With ``grid`` (rows and columns of tower
    tokens) every picture is one tile of that grid, and the spans of ``inner`` are left out.
    """

    inner: ImagePlanner
    connector: Connector
    scale: int = 1
    grid: tuple[int, int] | None = None

    def __call__(self, width: int, height: int) -> ImagePlan:
        """The plan of a picture of ``width`` × ``height`` pixels that is alone in its record."""
        return self._changed(self.inner(width, height))

    def several(self, sizes: Sequence[tuple[int, int]]) -> list[ImagePlan]:
        """The plans of all pictures (width, height) of one record."""
        return [self._changed(plan) for plan in plans_of(self.inner, sizes)]

    def _changed(self, plan: ImagePlan) -> ImagePlan:
        if self.grid is not None:
            return dataclasses.replace(plan, spans=tuple(self._spans(*self.grid, 0)))
        spans: list[Span] = []
        for span in plan.spans:
            if not isinstance(span, Visual) or (span.coords[:, 1:] < 0).any():
                spans.append(
                    span
                )  # newlines and class tokens: only connectors that keep the grid stand there
                continue
            rows, cols = span.coords[:, 1:].max(0) + 1
            spans += self._spans(int(rows) * self.scale, int(cols) * self.scale, int(span.coords[0, 0]))
        return dataclasses.replace(plan, spans=tuple(spans))

    def _spans(self, rows: int, cols: int, frame: int) -> list[Span]:
        """Begin, the grid, end as one run; texts in front of the grid's tokens cut it."""
        run = grid_run(*self.connector.grid(rows, cols), tile=frame)
        before, behind = (np.tile([[frame, -1, -1]], (count, 1)) for count in self.connector.around)
        texts = self.connector.cell_texts(rows, cols)
        if not texts:
            return [Visual(np.concatenate([before, run, behind]))]
        spans: list[Span] = [Visual(before)] if len(before) else []
        for text, place in zip(texts, run, strict=True):
            spans += [Marker(text), Visual(place[None])]
        return [*spans, Visual(behind)] if len(behind) else spans
