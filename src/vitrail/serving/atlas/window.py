"""The rose window: one pane a paper, in rings around a middle, papers of one seam side by side.

The glass is computed, not drawn: rings whose counts stand in the proportion 1 : 2 : 2 : 3 (12, 24, 24 and 36 panes for
96 papers, so that the window has twelve equal parts). Panes are filled clockwise from the top, the inner rings
first within a part, in the order of seams: a seam is a sector of the window, whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZE = 1000.0
"""Width and height of the drawing."""
MIDDLE = 132.0
RADII = (146.0, 256.0, 336.0, 410.0, 488.0)
"""Where rings begin and end, from the middle out."""
PROPORTIONS = (1, 2, 2, 3)
ARCHED = (0, 3)
"""Rings whose panes end in a pointed arch; those between are plain quarries."""
LEAD = 6.0
"""Width of the lead between panes."""


@dataclass(frozen=True)
class Pane:
    """One pane: its ``ring`` (0 is the innermost), place in the ring, outline as an SVG path, and centre."""

    ring: int
    index: int
    path: str
    x: float
    y: float
    angle: float


def panes(count: int) -> list[Pane]:
    """``count`` panes in the order in which papers fill them. ValueError below 1."""
    if count < 1:
        raise ValueError(f"a window of {count} panes cannot be drawn; the catalogue must hold a paper")
    made = []
    for ring, number in enumerate(ring_sizes(count)):
        for index in range(number):
            made.append(_pane(ring, index, number))
    parts = ring_sizes(count)[0]
    # A part is as wide as a pane of the inner ring; a hair's breadth of tolerance keeps its edge on one side.
    return sorted(made, key=lambda pane: (int(pane.angle / math.tau * parts + 1e-9), pane.ring, pane.index))


def ring_sizes(count: int) -> list[int]:
    """How many panes each ring has; in all ``count``, and no ring that is used is empty."""
    whole = sum(PROPORTIONS)
    sizes = [count * share // whole for share in PROPORTIONS]
    for ring in reversed(range(len(sizes))):  # what is left over goes outside, where there is most room
        if sum(sizes) < count:
            sizes[ring] += 1
    sizes = [size for size in sizes if size]
    return sizes if sum(sizes) == count else [count]


def _pane(ring: int, index: int, number: int) -> Pane:
    """A pane with sides parallel to its neighbours', the outer edge a pointed or round arch."""
    inner, outer = RADII[ring] + LEAD / 2, RADII[ring + 1] - LEAD / 2
    begin, end = math.tau * index / number, math.tau * (index + 1) / number
    middle = (begin + end) / 2
    # The lead has one width all along: its angle is smaller further out.
    low, high = (LEAD / 2 / radius for radius in (inner, outer))
    corners = [
        _point(inner, begin + low),
        _point(outer, begin + high),
        _point(outer, end - high),
        _point(inner, end - low),
    ]
    a, b, c, d = (f"{x:.1f} {y:.1f}" for x, y in corners)
    if number == 1:
        path = _whole_ring(inner, outer)
    else:
        edge = (
            _arch(outer, begin + high, end - high)
            if ring in ARCHED
            else f"A{outer:.1f} {outer:.1f} 0 0 1 {c}"
        )
        start = b if ring not in ARCHED else _shoulder(outer, begin + high, end - high)
        path = f"M{a}L{start}{edge}L{d}A{inner:.1f} {inner:.1f} 0 0 0 {a}Z"
    x, y = _point((inner + outer) / 2, middle)
    return Pane(ring, index, path, round(x, 1), round(y, 1), middle)


def _depth(outer: float, begin: float, end: float) -> float:
    """How far the arch's shoulders lie below its tip."""
    return 0.42 * outer * (end - begin)


def _shoulder(outer: float, begin: float, end: float) -> str:
    x, y = _point(outer - _depth(outer, begin, end), begin)
    return f"{x:.1f} {y:.1f}"


def _arch(outer: float, begin: float, end: float) -> str:
    """A pointed arch from shoulder to shoulder, its tip on the ring's outer circle."""
    middle, low = (begin + end) / 2, outer - _depth(outer, begin, end)
    points = [
        _point(outer - 0.12 * (outer - low), begin),
        _point(outer, middle),
        _point(outer - 0.12 * (outer - low), end),
        _point(low, end),
    ]
    first, tip, second, last = (f"{x:.1f} {y:.1f}" for x, y in points)
    return f"Q{first} {tip}Q{second} {last}"


def _whole_ring(inner: float, outer: float) -> str:
    """A whole ring: an arc of a full turn has no direction, so each circle is two halves."""
    made = ""
    for radius, sweep in ((outer, 1), (inner, 0)):
        top, bottom = (f"{x:.1f} {y:.1f}" for x, y in (_point(radius, 0), _point(radius, math.pi)))
        arc = f"A{radius:.1f} {radius:.1f} 0 0 {sweep}"
        made += f"M{top}{arc} {bottom}{arc} {top}Z"
    return made


def _point(radius: float, angle: float) -> tuple[float, float]:
    """Clockwise from the top."""
    return SIZE / 2 + radius * math.sin(angle), SIZE / 2 - radius * math.cos(angle)


def in_order(ids: Sequence[str], seam_of: dict[str, str], order: Sequence[str]) -> list[str]:
    """Ids by seam in ``order``, then by id."""
    place = {seam: position for position, seam in enumerate(order)}
    return sorted(ids, key=lambda id: (place[seam_of[id]], id))
