"""Tests for two sets of answers to the same questions, and for many such tests at once.

Sources: Q. McNemar (1947), *Note on the sampling error of the difference between correlated proportions*;
S. Holm (1979), *A simple sequentially rejective multiple test procedure*.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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


FLIPS = 9999
"""Random sign flips where there are too many to try them all."""


def sign_flips(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> float:
    """The two-sided p-value of Fisher's randomisation test for paired values, over whole clusters.

    If the two are alike, a cluster's difference (summed over its items) is as likely with the other sign. Where each
    differs by one item at most this is McNemar's exact test; all signs are tried for up to 14 clusters that differ,
    :data:`FLIPS` draws beyond, with the observed one among them. 1 where nothing differs. ValueError for unlike
    lengths.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"paired values must be of the same items: shapes {a.shape} and {b.shape} were given."
        )
    if clusters is not None and len(clusters) != len(a):
        raise ValueError(
            f"there are {len(a)} pairs and {len(clusters)} clusters; give one cluster for each pair."
        )
    places: dict[Hashable, int] = {}
    index = [
        places.setdefault(name, len(places)) for name in (range(len(a)) if clusters is None else clusters)
    ]
    sums = np.bincount(index, weights=a - b) if len(a) else np.zeros(0)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    if (np.abs(sums) == 1).all():
        return mcnemar(sums > 0, sums < 0).p
    if len(sums) <= 14:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float(_as_far(signs @ sums, sums).mean())
    rng, count = np.random.default_rng(seed), 0
    for start in range(0, FLIPS, 256):
        signs = rng.choice([-1.0, 1.0], size=(min(256, FLIPS - start), len(sums)))
        count += int(_as_far(signs @ sums, sums).sum())
    return (count + 1) / (FLIPS + 1)


def _as_far(drawn: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Which draws lie at least as far from 0 as what was seen, rounding aside."""
    return np.abs(drawn) >= abs(float(sums.sum())) - 1e-9 * float(np.abs(sums).sum())
