r"""What a model keeps while it learns one dataset after the other.

A[i, j]: the metric on dataset j after finishing dataset i, both from 0 (Lopez-Paz & Ranzato 2017; as used in
arXiv 2503.02844). *Final average*: the mean of the last row. *Forgetting*: the mean over all but the last dataset of
how far the last row lies behind the best earlier one. *Transient jump*: the worst loss on old data within the first
steps of a new dataset, less that at the boundary; it isolates what a new warm-up does. *Gap* (arXiv 2406.14833): how
deep a curve falls below its beginning, where, and when it is back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Continual:
    """``final``: the mean of the last row; ``forgetting``: above 0 is worse, whichever way the metric points."""

    final: float
    forgetting: float
    matrix: Float[np.ndarray, "after on"]


def continual_metrics(
    matrix: Sequence[Sequence[float]] | np.ndarray, higher_is_better: bool = False
) -> Continual:
    """From A, a row for each dataset finished. ValueError for one that is not square, or holds what is no number."""
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"the matrix is {a.shape}; it needs a row and a column for each dataset")
    if not np.isfinite(a).all():
        raise ValueError("the matrix holds a value that is not finite; measure it again")
    last = a.shape[0] - 1
    if last == 0:
        return Continual(float(a[0, 0]), 0.0, a)
    signed = a if higher_is_better else -a
    forgotten = signed[:last, :last].max(axis=0) - signed[last, :last]
    return Continual(float(a[last].mean()), float(forgotten.mean()), a)


def matrix_of(
    ends: Sequence[Mapping[str, Any]], datasets: Sequence[str], measure: str = "loss"
) -> np.ndarray:
    """A from the last probe row of each dataset's stage, in the order of ``datasets``.

    ValueError for a row that lacks a dataset.
    """
    for number, row in enumerate(ends):
        missing = [name for name in datasets if name not in row]
        if missing:
            raise ValueError(
                f"the stage of {datasets[number]!r} was not probed on {missing[0]!r}; add it to its probes"
            )
    return np.array([[row[name][measure] for name in datasets] for row in ends])


def transient_jump(rows: Sequence[Mapping[str, Any]], old: Sequence[str], steps: int) -> float:
    """The worst mean loss on ``old`` data within the first ``steps`` of a stage, less that at its beginning.

    ``rows``: the stage's probes, the first before its first step. At least 0.
    """
    curve = [(row["step"], float(np.mean([row[name]["loss"] for name in old]))) for row in rows]
    if not curve or curve[0][0] != 0:
        raise ValueError("a jump is measured from the beginning of a stage; its first probe is missing")
    return max(loss for step, loss in curve if step <= steps) - curve[0][1]


def area(rows: Sequence[Mapping[str, Any]], name: str, measure: str = "loss") -> float:
    """The mean of a probed curve over its steps (by trapezoids): the area under it, divided by its length."""
    steps = np.array([row["step"] for row in rows], dtype=np.float64)
    values = np.array([row[name][measure] for row in rows])
    if len(steps) < 2:
        raise ValueError("a curve needs two probes at least; probe more often")
    return float(np.sum((values[1:] + values[:-1]) / 2 * np.diff(steps)) / (steps[-1] - steps[0]))


@dataclass(frozen=True)
class Gap:
    """``depth``: how far the curve falls below its beginning; ``position``: index of its lowest point. ``recovery``:
    the first index behind that at which it is back, None if never. ``below``: mean depth of its part below the
    beginning. ``peak`` and ``peak_position``: its best; ``final``: its end.
    """

    depth: float
    position: int
    recovery: int | None
    below: float
    peak: float
    peak_position: int
    final: float


def gap_report(curve: Sequence[float]) -> Gap:
    """Of a metric where more is better, measured at the beginning (first entry) and then at equal intervals.

    ValueError for an empty curve, or a value that is not finite.
    """
    m = [float(value) for value in curve]
    if not m or not all(map(math.isfinite, m)):
        raise ValueError("a curve needs one finite value at least; measure it again where there is none")
    position = min(range(len(m)), key=lambda t: m[t])
    recovery = next((t for t in range(position + 1, len(m)) if m[t] >= m[0]), None)
    peak_position = max(range(len(m)), key=lambda t: m[t])
    depth = m[0] - m[position]
    return Gap(
        depth=depth,
        position=position,
        recovery=(position if depth == 0 else recovery),
        below=sum(max(m[0] - value, 0.0) for value in m) / len(m),
        peak=m[peak_position],
        peak_position=peak_position,
        final=m[-1],
    )
