"""The interval of a paired effect when every seed answered the same items.

Seeds and items are both draws: other seeds would train other models, other items would ask other questions. The
variance of the mean difference is that of two-way clustering (A. C. Cameron, J. B. Gelbach, D. L. Miller, 2011, *Robust
Inference with Multiway Clustering*): seeds + items − both, never less than either alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from vitrail.statistics.intervals import Estimate


def crossed_difference(
    first: Sequence[Sequence[float]] | np.ndarray,
    second: Sequence[Sequence[float]] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Estimate:
    """The mean of ``first − second`` over ``(seeds, items)``, with an interval that covers new seeds and new items.

    ``clusters`` names what each item belongs to (its picture). Degrees of freedom: the smaller of seeds and clusters,
    less one. ValueError for tables of different shape, or fewer than 2 seeds or clusters.
    """
    from scipy.stats import t

    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"paired tables are (seeds, items) of one shape; got {a.shape} and {b.shape}")
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise ValueError("every seed needs a finite score for every item")
    d = a - b
    seeds, items = d.shape
    names = list(range(items)) if clusters is None else list(clusters)
    if len(names) != items:
        raise ValueError(f"there are {items} items and {len(names)} clusters; give one cluster for each item")
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(name, len(places)) for name in names])
    groups = len(places)
    if seeds < 2 or groups < 2:
        raise ValueError(f"at least 2 seeds and 2 clusters of items; got {seeds} and {groups}")
    mean = float(d.mean())
    rest = (d - mean) / d.size
    cells = np.zeros((seeds, groups))
    np.add.at(cells.T, index, rest.T)
    by_seed = float((rest.sum(1) ** 2).sum()) * seeds / (seeds - 1)
    by_item = float((cells.sum(0) ** 2).sum()) * groups / (groups - 1)
    each = float((cells**2).sum())
    variance = max(by_seed + by_item - each, by_seed, by_item)
    freedom = min(seeds, groups) - 1
    half = float(t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, d.size, groups, level)
