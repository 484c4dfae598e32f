"""Spearman's rank correlation of two figures over groups, each measured on several seeds, with its interval.

C. Spearman (1904), *The proof and measurement of association between two things*: Pearson's correlation of the ranks of
the groups' means, ranks of equal means averaged. The interval is the percentile bootstrap (B. Efron, 1979) over whole
groups with their seeds: a group's mean carries the noise of its seeds already, so that drawing seeds once more would
count it twice (A. C. Cameron, J. B. Gelbach, D. L. Miller, 2008, *Bootstrap-based improvements for inference with
clustered errors*). For 8 to 12 groups it keeps its level, which the bias-corrected one does not (see its test).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vitrail.statistics.intervals import Estimate

Table = Sequence[Sequence[float]]
"""A row for each group: its figure on each seed. Rows may differ in length."""
FEWEST_GROUPS = 5
"""With fewer, next to every draw of groups repeats one, and an interval says nothing."""


def rank_correlation(
    x: Table, y: Table, level: float = 0.95, seed: int = 0, resamples: int = 9999
) -> Estimate:
    """Spearman's ρ of the groups' means in ``x`` and ``y``, with its bootstrap interval.

    ``n`` is the number of measurements, ``clusters`` that of groups; ``seed`` is of the resampling. ValueError for
    fewer than 5 groups, tables of different groups, a figure that is not finite, or means that are all the same.
    """
    means = _means(x, "x"), _means(y, "y")
    if len(means[0]) != len(means[1]):
        raise ValueError(f"x has {len(means[0])} groups and y has {len(means[1])}; give both for every group")
    value = float(spearman(means[0][None], means[1][None])[0])
    return _estimate(value, _drawn(means, seed, resamples), x, level)


def correlation_gain(
    x: Table, other: Table, y: Table, signs: tuple[int, int], level: float = 0.95, seed: int = 0,
    resamples: int = 9999,
) -> Estimate:  # fmt: skip
    """By how much ``x`` goes more closely with ``y`` than ``other`` does: the difference of ρ times its expected sign,
    over the same draws of groups. ValueError as :func:`rank_correlation`.
    """
    means = _means(x, "x"), _means(other, "other"), _means(y, "y")
    if len({len(mean) for mean in means}) > 1:
        raise ValueError("x, other and y have different groups; give all for every group")
    pairs = [(means[0], means[2]), (means[1], means[2])]
    here = [sign * float(spearman(a[None], b[None])[0]) for sign, (a, b) in zip(signs, pairs, strict=True)]
    drawn = [sign * _drawn(pair, seed, resamples) for sign, pair in zip(signs, pairs, strict=True)]
    return _estimate(here[0] - here[1], drawn[0] - drawn[1], x, level)


def spearman(
    x: Float[np.ndarray, "draws groups"], y: Float[np.ndarray, "draws groups"]
) -> Float[np.ndarray, " draws"]:
    """ρ along the last axis; NaN where either side is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(side, axis=-1) for side in (x, y)]
    a, b = (rank - rank.mean(-1, keepdims=True) for rank in ranks)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.divide((a * b).sum(-1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def _drawn(means: tuple[np.ndarray, np.ndarray], seed: int, resamples: int) -> np.ndarray:
    """ρ of draws of groups with replacement; NaN for a draw of one group alone. Equal seeds draw equal groups."""
    groups = len(means[0])
    picked = np.random.default_rng(seed).integers(0, groups, (resamples, groups))
    return spearman(means[0][picked], means[1][picked])


def _estimate(value: float, drawn: np.ndarray, x: Table, level: float) -> Estimate:
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.5 - level / 2, 0.5 + level / 2])
    # Of few groups the quantiles may both lie on one side of the estimate.
    low, high = min(float(low), value), max(float(high), value)
    return Estimate(value, low, high, sum(len(row) for row in x), len(x), level)


def _means(table: Table, name: str) -> np.ndarray:
    if len(table) < FEWEST_GROUPS:
        raise ValueError(f"{name} has {len(table)} groups; a rank correlation needs {FEWEST_GROUPS} at least")
    if any(not len(row) or not np.isfinite(row).all() for row in table):
        raise ValueError(f"{name} has a group without a figure, or one that is not finite")
    means = np.array([float(np.mean(row)) for row in table])
    if np.ptp(means) == 0:
        raise ValueError(f"{name} is the same for every group: there is nothing to correlate")
    return means
