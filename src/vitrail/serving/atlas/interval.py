"""An effect with its interval on an axis that shows zero and the smallest effect that matters."""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.papers.evidence import Evidence

WIDTH, MARGIN = 560.0, 24.0


@dataclass(frozen=True)
class Strip:
    """Places along a strip ``WIDTH`` wide: the interval's ends, the effect, zero, and δ where there is one."""

    low: float
    high: float
    effect: float
    zero: float
    delta: float | None


def strip(item: Evidence) -> Strip | None:
    """None where there is no interval to draw."""
    if item.interval is None or item.effect is None:
        return None
    values = [*item.interval, item.effect, 0.0, *([item.delta] if item.delta is not None else [])]
    first, last = min(values), max(values)
    span = (last - first) or 1.0

    def place(value: float) -> float:
        return round(MARGIN + (value - first) / span * (WIDTH - 2 * MARGIN), 1)

    low, high = (place(end) for end in item.interval)
    return Strip(low, high, place(item.effect), place(0.0), None if item.delta is None else place(item.delta))
