"""The receiver operating characteristic: how well a score tells positives from negatives.

The area under the curve is the share of pairs (positive, negative) in which the positive has the higher score, ties a
half. Its standard error comes from structural components (DeLong et al. 1988, *Comparing the areas under two or more
correlated ROC curves*), summed over clusters (Obuchowski 1997, *Nonparametric analysis of clustered ROC curve data*).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from vitrail.statistics.intervals import Estimate

Values = Sequence[float] | np.ndarray


def roc_curve(scores: Values, labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (points,), a point for each threshold, from (0, 0) to (1, 1).

    ``labels``: 1 or True is positive; a higher score speaks for it. ValueError for a single class, unlike lengths, or a
    score that is no number.
    """
    x, y = _checked(scores, labels)
    order = np.argsort(-x, kind="stable")
    x, y = x[order], y[order]
    last = np.append(np.flatnonzero(np.diff(x)), len(x) - 1)  # equal scores are one threshold
    true, false = np.cumsum(y)[last], np.cumsum(~y)[last]
    return np.append(0.0, false / (~y).sum()), np.append(0.0, true / y.sum())


def auc(
    scores: Values,
    labels: Sequence[Any],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Estimate:
    """The area under the curve with its interval, cut off at 0 and 1. ValueError as :func:`roc_curve`."""
    from scipy.stats import norm, rankdata

    x, y = _checked(scores, labels)
    m, n = int(y.sum()), int((~y).sum())
    every = rankdata(x)
    # Of a positive: the share of negatives below it; of a negative: the share of positives above it.
    above = (every[y] - rankdata(x[y])) / n
    below = 1 - (every[~y] - rankdata(x[~y])) / m
    value = float(above.mean())
    parts = np.zeros(len(x))
    parts[y], parts[~y] = (above - value) / m, (below - value) / n
    places: dict[Hashable, int] = {}
    index = [places.setdefault(one, len(places)) for one in (range(len(x)) if clusters is None else clusters)]
    sums = np.bincount(index, weights=parts)
    k = len(places)
    error = float(np.sqrt((sums**2).sum() * k / (k - 1))) if k > 1 else 0.0
    half = float(norm.ppf(0.5 + level / 2)) * error
    if value in (0.0, 1.0):
        # Components are all equal there; min(m, n) independent pairs in order bound the area as Clopper & Pearson do.
        half = 1 - float(((1 - level) / 2) ** (1 / min(m, n)))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), len(x), k, level)


def best_balanced_accuracy(scores: Values, labels: Sequence[Any]) -> float:
    """``max over thresholds of 1 − (FPR + 1 − TPR) / 2``. ValueError as :func:`roc_curve`."""
    false, true = roc_curve(scores, labels)
    return float((1 - (false + 1 - true) / 2).max())


def tpr_at_fpr(scores: Values, labels: Sequence[Any], fpr: float = 0.05) -> float:
    """The true positive rate at the last threshold whose false positive rate lies below ``fpr``."""
    if not 0 < fpr <= 1:
        raise ValueError(f"fpr is {fpr}; give a rate above 0 and at most 1")
    false, true = roc_curve(scores, labels)
    return float(true[np.flatnonzero(false < fpr)[-1]])


def _checked(scores: Values, labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(scores, float), np.asarray(labels)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"there are {len(x)} scores for {len(y)} labels; give one each")
    if not np.isfinite(x).all():
        raise ValueError("a score is not finite; leave out what cannot be scored")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 1 (positive) and 0 (negative)")
    y = y.astype(bool)
    if y.all() or not y.any():
        raise ValueError(f"all {len(y)} labels are {int(y[:1].sum())}; a curve needs both classes")
    return x, y
