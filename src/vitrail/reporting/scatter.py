"""Named points over two axes, each with a whisker for its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.reporting.page import number
from vitrail.reporting.plots import _FAINT, _GRID, _chart, _colour, _figure, _plain


@dataclass(frozen=True)
class Point:
    """``name`` at ``x`` and ``y``; ``dx`` and ``dy`` are half the whiskers' lengths (0: none)."""

    name: str
    x: float
    y: float
    dx: float = 0.0
    dy: float = 0.0


@dataclass(frozen=True)
class Scatter:
    """A chart of points with their names beside them, and its figures in a table. ValueError for no points."""

    title: str
    points: Sequence[Point]
    x_label: str
    y_label: str
    note: str = ""

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError(f"the chart {self.title!r} needs at least one point.")

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        figure, axes = _figure(4.2)
        for point in self.points:
            axes.errorbar(
                point.x, point.y, xerr=point.dx or None, yerr=point.dy or None, fmt="o", ms=6, lw=1.1,
                color=_colour(0),
            )  # fmt: skip
            axes.annotate(
                _plain(point.name),
                (point.x, point.y),
                (6, 5),
                textcoords="offset points",
                fontsize=8.5,
                color=_FAINT,
            )
        axes.set_xlabel(_plain(self.x_label))
        axes.set_ylabel(_plain(self.y_label))
        axes.grid(color=_GRID, lw=0.8)
        axes.margins(x=0.12, y=0.12)
        rows = [
            [one.name, number(one.x), number(one.dx), number(one.y), number(one.dy)] for one in self.points
        ]
        columns = ["", self.x_label, "±", self.y_label, "±"]
        return _chart(figure, self.title, [], (columns, rows), self.note)
