"""Masks as boolean arrays ``(rows, cols)``, and COCO's run-length encoding of them.

An encoding is ``{"size": [rows, cols], "counts": ...}``: lengths of alternating runs of 0 and 1, first of 0,
down the columns. ``counts`` is a list of numbers, or COCO's compressed string (pycocotools' ``rleToString``:
from the fourth count on the difference to the count two before, five bits a character).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def _as_mask(mask: npt.ArrayLike) -> Mask:
    array = np.asarray(mask).astype(bool)
    if array.ndim != 2:
        raise ValueError(f"mask has shape {array.shape}; give (rows, cols)")
    return array


def encode(mask: npt.ArrayLike, compressed: bool = True) -> dict[str, Any]:
    """The encoding of a mask ``(rows, cols)``; ``counts`` is a string if ``compressed``, else a list."""
    array = _as_mask(mask)
    flat = array.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist() if flat.size else [0]
    if flat.size and flat[0]:
        counts.insert(0, 0)
    size = [int(array.shape[0]), int(array.shape[1])]
    return {"size": size, "counts": _to_string(counts) if compressed else counts}


def decode(encoding: dict[str, Any]) -> Mask:
    """The mask ``(rows, cols)`` of an encoding. ValueError if the runs do not fill ``size``."""
    rows, cols = (int(side) for side in encoding["size"])
    counts = encoding["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    if isinstance(counts, str):
        counts = _from_string(counts)
    runs = np.asarray(counts, dtype=np.int64)
    if (runs.size and runs.min() < 0) or runs.sum() != rows * cols:
        raise ValueError(
            f"counts sum to {int(runs.sum())}, but size {rows} × {cols} has {rows * cols} pixels; "
            "the encoding is damaged or its size is swapped"
        )
    flat = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return flat.reshape((rows, cols), order="F")


def _to_string(counts: Sequence[int]) -> str:
    characters = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            characters.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(characters)


def _from_string(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"counts holds {character!r}, which COCO's run-length encoding does not use")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("counts ends in the middle of a number; the encoding is cut off")
    return counts


def area(mask: npt.ArrayLike) -> int:
    """Pixels of a mask."""
    return int(np.count_nonzero(_as_mask(mask)))


def to_box(mask: npt.ArrayLike) -> tuple[int, int, int, int] | None:
    """The ``xyxy`` box around a mask (right and bottom excluded), or None if it is empty."""
    array = _as_mask(mask)
    rows, cols = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    if len(rows) == 0:
        return None
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union ``(N, M)`` of masks ``a (N, rows, cols)`` and ``b (M, rows, cols)``."""
    first, second = np.asarray(a).astype(bool), np.asarray(b).astype(bool)
    if first.ndim != 3 or second.ndim != 3 or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"a has shape {first.shape}, b {second.shape}; give (N, rows, cols) of equal size")
    # float64 products of 0 and 1 are exact, and go through BLAS.
    flat_a, flat_b = (
        first.reshape(len(first), -1).astype(np.float64),
        second.reshape(len(second), -1).astype(np.float64),
    )
    shared = flat_a @ flat_b.T
    union = flat_a.sum(axis=1)[:, None] + flat_b.sum(axis=1)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
