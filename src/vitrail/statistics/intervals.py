"""Intervals of a proportion, a mean, and a difference, for items that may come in clusters.

Several questions about one picture are not independent: an interval over questions alone is too narrow. The
bootstrap here draws whole clusters (pictures), and its statistic is the mean over all items drawn.

Sources: E. B. Wilson (1927), *Probable inference*; B. Efron (1987), *Better bootstrap confidence intervals*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np


class Interval(NamedTuple):
    """From ``low`` to ``high``."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A figure with its interval of level ``level``, over ``n`` items in ``clusters`` clusters."""

    value: float
    low: float
    high: float
    n: int
    clusters: int
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, without continuity correction.

    ``(0, 1)`` for no trials. Unlike the bootstrap it has a width when all or none succeeded.
    """
    from scipy.stats import norm

    _check_level(level)
    if not 0 <= successes <= n:
        raise ValueError(f"successes is {successes} of n = {n}; it must lie between 0 and n.")
    if n == 0:
        return Interval(0.0, 1.0)
    z = float(norm.ppf(0.5 + level / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the exact limits are 0 and 1; rounding would miss them by 1e-17.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low, high)


def mean_t(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Estimate:
    """Student's interval of a mean of independent values (at least two), such as the effect over seeds."""
    from scipy.stats import t

    _check_level(level)
    x = _numbers(values)
    if len(x) < 2:
        raise ValueError(f"an interval of a mean needs at least 2 values, got {len(x)}.")
    half = float(t.ppf(0.5 + level / 2, len(x) - 1)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    mean = float(x.mean())
    return Estimate(mean, mean - half, mean + half, len(x), len(x), level)


def clustered_bootstrap(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 9999,
    method: Literal["BCa", "percentile"] = "BCa",
) -> Estimate:
    """The mean of ``values`` with a bootstrap interval over whole clusters.

    Args:
        values: one number for each item (1 for right and 0 for wrong, or a difference of two such).
        clusters: what each item belongs to (its picture); None when items are independent.
        seed: of the resampling. Equal arguments give equal intervals.
        level: coverage.
        resamples: how many; 9,999 make the ends' own error small beside the width.
        method: ``"BCa"`` (bias-corrected and accelerated) or ``"percentile"``.

    When all clusters agree nothing can be resampled: the interval is the value itself, and :func:`proportion`
    or :func:`paired_difference` say something better. ValueError for fewer than two clusters.
    """
    from scipy.stats import bootstrap

    _check_level(level)
    x = _numbers(values)
    sums, sizes = _clustered(x, clusters)
    if len(sums) < 2:
        raise ValueError(f"a bootstrap needs at least 2 clusters, got {len(sums)} of {len(x)} items.")
    mean = float(x.mean())
    if np.allclose(sums, mean * sizes, rtol=0, atol=1e-12):
        return Estimate(mean, mean, mean, len(x), len(sums), level)

    def mean_of(drawn_sums: np.ndarray, drawn_sizes: np.ndarray, axis: int = -1) -> Any:
        return drawn_sums.sum(axis) / drawn_sizes.sum(axis)

    found = bootstrap(
        (sums, sizes),
        mean_of,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(sums)),
        confidence_level=level,
        method=method,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high), len(x), len(sums), level)


def proportion(
    successes: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The share of successes (0 or 1 for each item): Wilson's interval, or the clustered bootstrap's.

    With clusters that all agree (every answer right), or a single one, Wilson's interval over the number of
    clusters stands in, since the bootstrap would claim certainty.
    """
    x = _numbers(successes)
    if not np.isin(x, (0.0, 1.0)).all():
        raise ValueError("successes must be 0 or 1 for each item.")
    sums = _clustered(x, clusters)[0]
    mean = float(x.mean())
    if clusters is None or len(sums) == len(x):
        return Estimate(mean, *wilson(int(x.sum()), len(x), level), len(x), len(x), level)
    if len(sums) > 1:
        found = clustered_bootstrap(x, clusters, seed, level)
        if found.low < found.high:
            return found
    # Clusters count as one trial each; rounding to whole trials must not lose the value from the interval.
    low, high = wilson(round(mean * len(sums)), len(sums), level)
    return Estimate(mean, min(low, mean), max(high, mean), len(x), len(sums), level)


def clustered_statistic(
    columns: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 2000,
) -> Estimate:
    """A statistic of sums over items, with a percentile bootstrap interval over whole clusters.

    ``columns`` (items, k) are what is summed (a numerator and a denominator, say); ``statistic`` takes sums (…, k) and
    gives (…) values, NaN where a draw has none; such draws are left out. For ratios, and means over groups of unlike
    size. ValueError if the whole has no value. For a single cluster the interval is the value itself.
    """
    _check_level(level)
    places: dict[Hashable, int] = {}
    names = range(len(columns)) if clusters is None else clusters
    index = np.array([places.setdefault(cluster, len(places)) for cluster in names])
    sums = np.zeros((len(places), columns.shape[1]))
    np.add.at(sums, index, columns.astype(float))
    value = float(statistic(sums.sum(0)))
    if not np.isfinite(value):
        raise ValueError("the statistic has no value over all items, so it has no interval")
    rng, drawn = np.random.default_rng(seed), []
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, resamples, 100):
            counts = rng.multinomial(
                len(sums), np.full(len(sums), 1 / len(sums)), size=min(100, resamples - start)
            )
            drawn.append(statistic(counts @ sums))
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]) if len(values) else (value, value)
    return Estimate(value, min(float(low), value), max(float(high), value), len(columns), len(places), level)


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The mean of ``first - second`` over the same items, with a bootstrap interval over clusters.

    For answers (0 or 1) that agree on every item, the interval is what Wilson's says of the share on which
    they could still differ, on both sides.
    """
    a, b = _numbers(first), _numbers(second)
    if len(a) != len(b):
        raise ValueError(f"paired values must be of the same items: {len(a)} and {len(b)} were given.")
    difference = a - b
    binary = bool(np.isin(np.concatenate([a, b]), (0.0, 1.0)).all())
    if binary and not difference.any():
        n = len(_clustered(difference, clusters)[0])
        bound = wilson(0, n, level).high
        return Estimate(0.0, -bound, bound, len(a), n, level)
    return clustered_bootstrap(difference, clusters, seed, level)


def _clustered(x: np.ndarray, clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of items of each cluster, in order of first appearance."""
    if clusters is None:
        return x, np.ones(len(x))
    if len(clusters) != len(x):
        raise ValueError(
            f"there are {len(x)} values and {len(clusters)} clusters; give one cluster for each value."
        )
    places: dict[Hashable, int] = {}
    index = [places.setdefault(cluster, len(places)) for cluster in clusters]
    return np.bincount(index, weights=x), np.bincount(index).astype(float)


def _numbers(values: Sequence[float] | np.ndarray) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"values must be a list of at least one number, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(
            f"value {int(np.argmin(np.isfinite(x)))} is {x[~np.isfinite(x)][0]}; all must be finite."
        )
    return x


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a share between 0 and 1, such as 0.95.")
