"""Rotated boxes as float arrays ``(..., 5)``: centre x, centre y, width, height, angle.

The angle is in degrees, counter-clockwise as seen on the screen (y grows downwards), of the side called
width. :func:`normalise` gives each rectangle one writing: ``width >= height`` and an angle in [−90, 90).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vitrail.geometry.boxes import Floats


def _as_rotated(boxes: npt.ArrayLike, name: str = "boxes") -> Floats:
    array = np.asarray(boxes, dtype=np.float64)
    if array.shape[-1:] != (5,):
        raise ValueError(
            f"{name} has shape {array.shape}; the last axis must hold 5 numbers (cx, cy, w, h, degrees)"
        )
    return array


def normalise(boxes: npt.ArrayLike) -> Floats:
    """The same rectangles with ``width >= height`` and an angle in [−90, 90) degrees."""
    b = _as_rotated(boxes).copy()
    swap = b[..., 3] > b[..., 2]
    b[..., 2], b[..., 3] = np.where(swap, b[..., 3], b[..., 2]), np.where(swap, b[..., 2], b[..., 3])
    b[..., 4] = (np.where(swap, b[..., 4] + 90, b[..., 4]) + 90) % 180 - 90
    return b


def corners(boxes: npt.ArrayLike) -> Floats:
    """The corners ``(..., 4, 2)``, clockwise on the screen, from the one that is top left at angle 0."""
    b = _as_rotated(boxes)
    angle = np.deg2rad(b[..., 4])
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=-1) * b[..., 2:3] / 2
    down = np.stack([np.sin(angle), np.cos(angle)], axis=-1) * b[..., 3:4] / 2
    centre = b[..., :2]
    return np.stack(
        [centre - across - down, centre + across - down, centre + across + down, centre - across + down],
        axis=-2,
    )


def from_xyxy(boxes: npt.ArrayLike) -> Floats:
    """Rotated boxes at angle 0 from ``xyxy`` boxes ``(..., 4)``."""
    b = np.asarray(boxes, dtype=np.float64)
    size = b[..., 2:] - b[..., :2]
    return np.concatenate([b[..., :2] + size / 2, size, np.zeros_like(size[..., :1])], axis=-1)


def to_xyxy(boxes: npt.ArrayLike) -> Floats:
    """The smallest upright boxes ``(..., 4)`` around rotated ones."""
    points = corners(boxes)
    return np.concatenate([points.min(axis=-2), points.max(axis=-2)], axis=-1)


def enclosing(points: npt.ArrayLike) -> Floats:
    """The rectangle ``(5,)`` of least area around points ``(N, 2)``, normalised. ValueError for no point.

    One of its sides lies on a side of the convex hull (Freeman and Shapira, 1975): all are tried.
    """
    from scipy.spatial import ConvexHull, QhullError

    p = np.asarray(points, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or len(p) == 0:
        raise ValueError(f"points has shape {p.shape}; give at least one point as (N, 2)")
    try:
        hull = p[ConvexHull(p).vertices]
    except (QhullError, ValueError):  # fewer than three points, or all on a line
        hull = np.unique(p, axis=0)
    sides = np.diff(np.concatenate([hull, hull[:1]]), axis=0)
    sides = sides[np.hypot(sides[:, 0], sides[:, 1]) > 0]
    if len(sides) == 0:
        return np.array([*hull[0], 0.0, 0.0, 0.0])
    angle = np.arctan2(-sides[:, 1], sides[:, 0]) % (np.pi / 2)
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    down = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    along, below = hull @ across.T, hull @ down.T
    size = np.stack([np.ptp(along, axis=0), np.ptp(below, axis=0)], axis=-1)
    # Rounded, so that among equal rectangles the first side wins on every machine.
    best = int(np.argmin(np.round(size.prod(axis=-1), 6)))
    middle_along = (along[:, best].min() + along[:, best].max()) / 2
    middle_below = (below[:, best].min() + below[:, best].max()) / 2
    centre = middle_along * across[best] + middle_below * down[best]
    return normalise(np.array([*centre, *size[best], np.rad2deg(angle[best])]))


def from_mask(mask: npt.NDArray[np.bool_]) -> Floats:
    """The least rectangle ``(5,)`` around a mask ``(rows, cols)``, pixels taken as unit squares."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        raise ValueError("mask is empty; a rotated box needs at least one pixel")
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    # The outermost pixels of each row span the hull; their corners make it exact.
    x, y = np.concatenate([first, last]), np.concatenate([rows, rows])
    return enclosing(np.concatenate([np.stack([x, y], axis=-1), np.stack([x, y + 1], axis=-1)]))


def _clip_polygon(subject: Floats, a: Floats, b: Floats) -> Floats:
    """The part of a convex polygon right of the line a → b on the screen (Sutherland and Hodgman, 1974)."""
    edge = b - a
    side = edge[0] * (subject[:, 1] - a[1]) - edge[1] * (subject[:, 0] - a[0])
    kept = []
    for i in range(len(subject)):
        j = (i + 1) % len(subject)
        if side[i] >= 0:
            kept.append(subject[i])
        if (side[i] >= 0) != (side[j] >= 0):
            t = side[i] / (side[i] - side[j])
            kept.append(subject[i] + t * (subject[j] - subject[i]))
    return np.array(kept).reshape(-1, 2)


def polygon_area(polygon: npt.ArrayLike) -> float:
    """Area of a simple polygon ``(N, 2)`` by the shoelace formula."""
    x, y = np.asarray(polygon, dtype=np.float64).reshape(-1, 2).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def convex_intersection(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The shared polygon ``(K, 2)`` of two convex polygons given clockwise on the screen; K = 0 if apart."""
    shared, frame = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    for i in range(len(frame)):
        if len(shared) == 0:
            break
        shared = _clip_polygon(shared, frame[i], frame[(i + 1) % len(frame)])
    return shared


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union ``(N, M)`` of rotated boxes ``a (N, 5)`` and ``b (M, 5)``, exact."""
    first, second = _as_rotated(a, "a").reshape(-1, 5), _as_rotated(b, "b").reshape(-1, 5)
    corners_a, corners_b = corners(first), corners(second)
    area_a, area_b = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    reach = np.hypot(first[:, 2], first[:, 3])[:, None] / 2 + np.hypot(second[:, 2], second[:, 3])[None] / 2
    apart = np.linalg.norm(first[:, None, :2] - second[None, :, :2], axis=-1)
    result = np.zeros((len(first), len(second)))
    for i, j in np.argwhere(apart < reach):
        shared = polygon_area(convex_intersection(corners_a[i], corners_b[j]))
        union = area_a[i] + area_b[j] - shared
        result[i, j] = shared / union if union > 0 else 0.0
    return result
