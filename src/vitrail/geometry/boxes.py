"""Axis-aligned boxes as float arrays ``(..., 4)``, in pixels.

The house form is ``xyxy``: left, top, right, bottom, with ``right`` and ``bottom`` excluded, so that
``right - left`` is the width in pixels. ``xywh`` is COCO's left, top, width, height; ``cxcywh`` has the
centre.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Form = Literal["xyxy", "xywh", "cxcywh"]


def _as_boxes(boxes: npt.ArrayLike, name: str = "boxes") -> Floats:
    array = np.asarray(boxes, dtype=np.float64)
    if array.shape[-1:] != (4,):
        raise ValueError(f"{name} has shape {array.shape}; the last axis must hold 4 numbers")
    return array


def convert(boxes: npt.ArrayLike, source: Form, target: Form) -> Floats:
    """Boxes ``(..., 4)`` from one form to another. ValueError for an unknown form."""
    b = _as_boxes(boxes)
    if source == "xyxy":
        xyxy = b
    elif source == "xywh":
        xyxy = np.concatenate([b[..., :2], b[..., :2] + b[..., 2:]], axis=-1)
    elif source == "cxcywh":
        xyxy = np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], axis=-1)
    else:
        raise ValueError(f"source is {source!r}; use 'xyxy', 'xywh' or 'cxcywh'")
    size = xyxy[..., 2:] - xyxy[..., :2]
    if target == "xyxy":
        return xyxy.copy()
    if target == "xywh":
        return np.concatenate([xyxy[..., :2], size], axis=-1)
    if target == "cxcywh":
        return np.concatenate([xyxy[..., :2] + size / 2, size], axis=-1)
    raise ValueError(f"target is {target!r}; use 'xyxy', 'xywh' or 'cxcywh'")


def area(boxes: npt.ArrayLike) -> Floats:
    """Areas ``(...)`` of ``xyxy`` boxes; 0 for a box whose sides are swapped."""
    b = _as_boxes(boxes)
    return np.prod(np.clip(b[..., 2:] - b[..., :2], 0, None), axis=-1)


def clip(boxes: npt.ArrayLike, width: float, height: float) -> Floats:
    """``xyxy`` boxes cut to a picture of ``width`` × ``height`` pixels."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(_as_boxes(boxes), 0, limits)


def scale(boxes: npt.ArrayLike, x: float, y: float) -> Floats:
    """``xyxy`` boxes multiplied by ``x`` across and ``y`` down (pixels ↔ fractions, or a resized picture)."""
    return _as_boxes(boxes) * np.array([x, y, x, y], dtype=np.float64)


def intersection(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Shared areas ``(N, M)`` of every box of ``a (N, 4)`` with every box of ``b (M, 4)``, both ``xyxy``."""
    first, second = _as_boxes(a, "a").reshape(-1, 1, 4), _as_boxes(b, "b").reshape(1, -1, 4)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    return np.prod(np.clip(high - low, 0, None), axis=-1)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union ``(N, M)`` of ``xyxy`` boxes ``(N, 4)`` and ``(M, 4)``; 0 if both are empty."""
    shared = intersection(a, b)
    union = area(a).reshape(-1, 1) + area(b).reshape(1, -1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def giou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Generalised IoU ``(N, M)`` (Rezatofighi et al., 2019): IoU − (hull − union) / hull, in [−1, 1]."""
    first, second = _as_boxes(a, "a").reshape(-1, 1, 4), _as_boxes(b, "b").reshape(1, -1, 4)
    shared = intersection(a, b)
    union = area(a).reshape(-1, 1) + area(b).reshape(1, -1) - shared
    low = np.minimum(first[..., :2], second[..., :2])
    high = np.maximum(first[..., 2:], second[..., 2:])
    hull = np.prod(np.clip(high - low, 0, None), axis=-1)
    empty = np.divide(hull - union, hull, out=np.zeros_like(hull), where=hull > 0)
    return iou(a, b) - empty
