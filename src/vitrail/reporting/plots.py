"""Charts as inline SVG: bars with intervals and marks, curves over steps.

Drawn by matplotlib with placeholder colours, which are then replaced by the page's CSS variables, so that one
chart serves light and dark. Letters stay text. Below each chart its figures stand as a folded table, for
those who cannot see it and for copying.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from vitrail.reporting.page import number, render

SERIES_COLOURS = 6
MAX_POINTS = 800
"""Longer curves are drawn from means over equal stretches."""

_INK, _GRID, _FAINT, _SURFACE = "#010101", "#020202", "#030303", "#050505"
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--line)",
    _FAINT: "var(--muted)",
    _SURFACE: "var(--surface)",
} | {f"#0400{index:02x}": f"var(--s{index + 1})" for index in range(SERIES_COLOURS)}


def require() -> Any:
    """matplotlib, or an ImportError that says what to install. Ask before a long run, not after it."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("charts need matplotlib: pip install 'vitrail[report]'") from None
    return matplotlib


def _colour(index: int) -> str:
    return f"#0400{index % SERIES_COLOURS:02x}"


Bar = tuple[float, float, float]


def _bar(value: Any) -> Bar | None:
    """``(value, low, high)`` of a number, of such a tuple, or of anything with these attributes."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return (float(value), float(value), float(value))
    if hasattr(value, "value") and hasattr(value, "low"):
        return (float(value.value), float(value.low), float(value.high))
    middle, low, high = value
    return (float(middle), float(low), float(high))


@dataclass(frozen=True)
class Bars:
    """Horizontal bars in ``groups``, one of each of ``series`` a group, with whiskers and marks.

    Args:
        title: what the chart shows.
        groups: names, from top to bottom.
        series: name → for each group a value, ``(value, low, high)``, an
            :class:`vitrail.statistics.intervals.Estimate`, or None where there is none.
        marks: name → for each group a value drawn as a line across it (chance, a baseline).
        percent: values are shares, shown in percent on an axis from 0 to 100.
        label: of the axis.
        note: a sentence below.
    """

    title: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Any]]
    marks: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    percent: bool = True
    label: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.groups or not self.series:
            raise ValueError(f"the chart {self.title!r} needs at least one group and one series.")
        for name, values in {**self.series, **self.marks}.items():
            if len(values) != len(self.groups):
                raise ValueError(f"{name!r} has {len(values)} values for {len(self.groups)} groups.")

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        bars = {name: [_bar(value) for value in values] for name, values in self.series.items()}
        height = 0.75 + len(self.groups) * (0.16 + 0.2 * len(bars))
        figure, axes = _figure(height)
        thick = 0.8 / len(bars)
        scale = 100.0 if self.percent else 1.0
        for index, values in enumerate(bars.values()):
            for group, bar in enumerate(values):
                if bar is not None:
                    y = group - 0.4 + thick * (index + 0.5)
                    self._draw(axes, y, thick, [scale * x for x in bar], index, scale)
        for index, marks in enumerate(self.marks.values()):
            dashes = (0, (2, 1.6)) if index == 0 else (0, (0.8, 2.4))
            for group, mark in enumerate(marks):
                if mark is not None:
                    ends = [group - 0.46, group + 0.46]
                    axes.plot([scale * mark] * 2, ends, color=_INK, lw=1.1 + 0.5 * index, ls=dashes)
        axes.set_yticks(range(len(self.groups)), [_plain(name) for name in self.groups])
        axes.set_ylim(len(self.groups) - 0.45, -0.55)
        if self.percent:
            axes.set_xlim(0, 109)
            axes.set_xticks(range(0, 101, 20), [f"{x} %" for x in range(0, 101, 20)])
        axes.set_xlabel(_plain(self.label))
        axes.grid(axis="x", color=_GRID, lw=0.8)
        axes.tick_params(axis="y", length=0)
        legend = [(name, f"s{index % SERIES_COLOURS + 1}", "bar") for index, name in enumerate(bars)]
        legend += [(name, "ink", "mark dotted" if index else "mark") for index, name in enumerate(self.marks)]
        return _chart(figure, self.title, legend, self._table(bars), self.note)

    def _draw(self, axes: Any, y: float, thick: float, bar: list[float], index: int, scale: float) -> None:
        value, low, high = bar
        axes.barh(y, value, height=thick * 0.88, color=_colour(index), lw=0)
        if high > low:
            # Under the whisker a wider line in the card's colour keeps it legible over the bar.
            for colour, width in ((_SURFACE, 3.4), (_INK, 1.3)):
                axes.plot([low, high], [y, y], color=colour, lw=width, solid_capstyle="butt")
        text = f"{value:.0f}" if scale == 100 else number(value)
        axes.annotate(
            text,
            (max(high, value), y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=_FAINT,
        )

    def _table(self, bars: Mapping[str, Sequence[Bar | None]]) -> tuple[list[str], list[list[str]]]:
        rows = []
        for group, name in enumerate(self.groups):
            cells = [self._cell(values[group]) for values in bars.values()]
            marks = [self._cell(_bar(values[group])) for values in self.marks.values()]
            rows.append([name, *cells, *marks])
        return ["", *bars, *self.marks], rows

    def _cell(self, bar: Bar | None) -> str:
        if bar is None:
            return "–"
        shown = [f"{100 * x:.1f}" if self.percent else number(x) for x in bar]
        unit = " %" if self.percent else ""
        return f"{shown[0]}{unit}" if bar[1] == bar[2] else f"{shown[0]}{unit} ({shown[1]} to {shown[2]})"


@dataclass(frozen=True)
class Curves:
    """Lines over a common x, such as losses over steps.

    ``series``: name → ``(xs, ys)``; values that are not finite leave gaps. ``smooth`` (0 to 1, the weight of
    the past) draws an exponential mean over the faint raw line. ``log`` makes the y axis logarithmic.
    """

    title: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str = "step"
    y_label: str = ""
    log: bool = False
    smooth: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        if not self.series:
            raise ValueError(f"the chart {self.title!r} needs at least one series.")
        if not 0 <= self.smooth < 1:
            raise ValueError(f"smooth is {self.smooth}; give 0 (none) or more, below 1.")
        for name, (xs, ys) in self.series.items():
            if len(xs) != len(ys):
                raise ValueError(f"{name!r} has {len(xs)} x and {len(ys)} y values.")

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        figure, axes = _figure(2.9)
        for index, (xs, ys) in enumerate(self.series.values()):
            x, y = _thinned([float(v) for v in xs], [float(v) for v in ys])
            if self.smooth:
                axes.plot(x, y, color=_colour(index), lw=0.8, alpha=0.3)
                y = _smoothed(y, self.smooth)
            axes.plot(x, y, color=_colour(index), lw=1.8, solid_joinstyle="round")
        if self.log:
            axes.set_yscale("log")
        axes.set_xlabel(_plain(self.x_label))
        axes.set_ylabel(_plain(self.y_label))
        axes.grid(color=_GRID, lw=0.8)
        axes.margins(x=0.015)
        legend = [(name, f"s{index % SERIES_COLOURS + 1}", "line") for index, name in enumerate(self.series)]
        table = ["", f"first ({self.x_label})", f"last ({self.x_label})", "lowest", "values"], self._summary()
        return _chart(figure, self.title, legend, table, self.note)

    def _summary(self) -> list[list[str]]:
        rows = []
        for name, (xs, ys) in self.series.items():
            finite = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
            if not finite:
                rows.append([name, "–", "–", "–", "0"])
                continue
            ends = [f"{number(y)} ({number(x)})" for x, y in (finite[0], finite[-1])]
            rows.append([name, *ends, number(min(y for _, y in finite)), f"{len(finite):,}"])
        return rows


def _thinned(xs: list[float], ys: list[float]) -> tuple[list[float], list[float]]:
    if len(xs) <= MAX_POINTS:
        return xs, ys
    stretch = math.ceil(len(xs) / MAX_POINTS)
    cuts = range(0, len(xs), stretch)
    return [_mean(xs[cut : cut + stretch]) for cut in cuts], [_mean(ys[cut : cut + stretch]) for cut in cuts]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _smoothed(ys: Sequence[float], weight: float) -> list[float]:
    """An exponential mean, its start corrected as Adam corrects its moments; gaps stay gaps."""
    smooth, total, mean = [], 0.0, 0.0
    for y in ys:
        if math.isfinite(y):
            mean = weight * mean + (1 - weight) * y
            total = weight * total + (1 - weight)
        smooth.append(mean / total if total and math.isfinite(y) else math.nan)
    return smooth


def _plain(text: str) -> str:
    """Text that matplotlib must not take for a formula."""
    return text.replace("$", r"\$")


def _figure(height: float) -> tuple[Any, Any]:
    """A figure without pyplot's global state, so that charts may be drawn in any thread."""
    require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(colors=_FAINT, labelcolor=_INK, labelsize=9.5, length=3, color=_GRID)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_FAINT)
        axis.label.set_fontsize(9.5)
    return figure, axes


def _chart(
    figure: Any,
    title: str,
    legend: list[tuple[str, str, str]],
    table: tuple[list[str], list[list[str]]],
    note: str,
) -> str:
    import matplotlib

    buffer = io.StringIO()
    # Fixed salt and no date: equal figures give equal bytes.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "vitrail", "font.family": "sans-serif"}
    ):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return render(
        "chart",
        svg=_inline(buffer.getvalue()),
        title=title,
        legend=legend,
        columns=table[0],
        rows=table[1],
        note=note,
    )


def _inline(svg: str) -> str:
    """The SVG element alone: unique ids, sizes left to the style sheet, colours as CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    salt = f"c{sha256(svg.encode()).hexdigest()[:8]}-"
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{salt}\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{salt}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{salt}\1)", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f": {colour}", f": {variable}")
    return svg.replace("<svg ", '<svg role="img" aria-hidden="true" focusable="false" ', 1)
