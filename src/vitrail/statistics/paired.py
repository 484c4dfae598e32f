"""Tests for two sets of answers to the same questions, and for many such tests at once.

Sources: Q. McNemar (1947), *Note on the sampling error of the difference between correlated proportions*;
S. Holm (1979), *A simple sequentially rejective multiple test procedure*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class McNemar(NamedTuple):
    """Items only the first got right, items only the second got right, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> McNemar:
    """McNemar's exact test: of the items where the two disagree, does one win more often than a coin would?

    Items must be independent; for several questions about a picture, trust the clustered interval instead. p
    is 1 when they never disagree.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"paired answers must be of the same items: shapes {a.shape} and {b.shape} were given."
        )
    if not np.isin(np.concatenate([a, b]), (0, 1)).all():
        raise ValueError("answers must be right (1, true) or wrong (0, false).")
    a, b = a.astype(bool), b.astype(bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject those of at most the family-wise error rate."""
    values = np.asarray(p, dtype=float)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must be a list of numbers between 0 and 1.")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
