"""Effects with their intervals on one axis, beside zero and the smallest effect that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 720.0, 190.0, 20.0, 44.0, 16.0


@dataclass(frozen=True)
class Effect:
    """One row: ``label``, ``value`` with ``low`` and ``high``, and a ``verdict`` in words."""

    label: str
    value: float
    low: float
    high: float
    verdict: str = ""


@dataclass(frozen=True)
class Effects:
    """A forest plot. ``delta`` is drawn as a dashed line; ``scale`` multiplies every figure, ``unit`` names it."""

    title: str
    rows: Sequence[Effect]
    delta: float | None = None
    scale: float = 1.0
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError(f"the plot {self.title!r} needs at least one effect")

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        height = TOP + ROW * len(self.rows) + 34
        body = "".join([*self._axis(height), *(self._row(place, row) for place, row in enumerate(self.rows))])
        said = "; ".join(f"{row.label}: {self._figure(row)} {row.verdict}" for row in self.rows)
        return (
            f'<figure class="chart effects"><figcaption>{escape(self.title)}</figcaption>'
            f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(said, quote=True)}" '
            f'style="width:100%;height:auto;font:13px system-ui,sans-serif;fill:currentColor">{body}</svg></figure>'
        )

    def _place(self, value: float) -> float:
        ends = [0.0, *(end for row in self.rows for end in (row.low, row.high))]
        ends += [] if self.delta is None else [self.delta]
        low, high = min(ends), max(ends)
        pad = 0.06 * ((high - low) or 1.0)
        return LEFT + (value - low + pad) / (high - low + 2 * pad) * (WIDTH - LEFT - RIGHT)

    def _axis(self, height: float) -> list[str]:
        marks = [(0.0, "0", "")] + ([] if self.delta is None else [(self.delta, "δ", "4 3")])
        end = height - 30
        lines = []
        for value, name, dashes in marks:
            x = self._place(value)
            lines.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6:g}" y2="{end:g}" stroke="currentColor" '
                f'stroke-opacity=".55" stroke-dasharray="{dashes}"/>'
                f'<text x="{x:.1f}" y="{end + 16:g}" text-anchor="middle">{name}'
                f"{'' if name == '0' else f' = {self.scale * value:.3g}'}</text>"
            )
        unit = f'<text x="{WIDTH - RIGHT:g}" y="{end + 16:g}" text-anchor="end" opacity=".7">{escape(self.unit)}</text>'
        return [*lines, unit]

    def _row(self, index: int, row: Effect) -> str:
        y = TOP + ROW * (index + 0.5) - 4
        low, value, high = (self._place(one) for one in (row.low, row.value, row.high))
        return (
            f'<text x="0" y="{y + 1:g}" font-weight="600">{escape(_short(row.label))}</text>'
            f'<text x="0" y="{y + 17:g}" opacity=".75">{escape(row.verdict)}</text>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:g}" y2="{y:g}" stroke="currentColor" stroke-width="2"/>'
            f'<path d="M{low:.1f} {y - 5:g}v10M{high:.1f} {y - 5:g}v10" stroke="currentColor" stroke-width="2"/>'
            f'<circle cx="{value:.1f}" cy="{y:g}" r="5"/>'
            f'<text x="{value:.1f}" y="{y + 19:g}" text-anchor="middle">{escape(self._figure(row))}</text>'
        )

    def _figure(self, row: Effect) -> str:
        low, value, high = (f"{self.scale * one:+.3g}" for one in (row.low, row.value, row.high))
        return f"{value} [{low}, {high}]"


def _short(label: str, most: int = 26) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
