"""How sure a model is, and whether rightly so: the expected calibration error, and the temperature that mends it.

ChEF's bins hold equally many answers (Shi et al., arXiv 2311.02692): answers are ordered by confidence, and
``ECE = Σ_b (n_b / n) · |mean confidence − share right|``; of n answers in B bins the first ``n mod B`` hold one more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def likelihoods(row: Mapping[str, Any], temperature: float = 1.0) -> list[float] | None:
    """The options' likelihoods as shares that add up to one, where the answer was ranked."""
    values: Sequence[float] | None = row.get("values")
    if not values:
        return None
    weights = [math.exp((value - max(values)) / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def confidence(row: Mapping[str, Any], temperature: float = 1.0) -> float:
    """The likelihood of the option that was chosen; 0 for answers in words."""
    shares = likelihoods(row, temperature)
    return shares[row["choice"]] if shares is not None else 0.0


def equal_mass_bins(n: int, bins: int) -> list[int]:
    """How many of ``n`` ordered answers each bin holds."""
    if n < 1 or bins < 1:
        raise ValueError(f"n is {n} and bins {bins}; both must be 1 or more")
    count = min(n, bins)
    return [n // count + (place < n % count) for place in range(count)]


def equal_mass_ece(confidences: Sequence[float], right: Sequence[bool | float], bins: int = 10) -> float:
    """The expected calibration error over bins of equally many answers; 0 is perfect. ValueError for no answers."""
    if len(confidences) != len(right) or not confidences:
        raise ValueError(
            f"there are {len(confidences)} confidences and {len(right)} answers; give one for each"
        )
    order = np.argsort(np.asarray(confidences, float), kind="stable")
    sure, hit = np.asarray(confidences, float)[order], np.asarray(right, float)[order]
    error, start = 0.0, 0
    for size in equal_mass_bins(len(order), bins):
        part = slice(start, start + size)
        error += size / len(order) * abs(float(sure[part].mean()) - float(hit[part].mean()))
        start += size
    return error


def best_temperature(rows: Sequence[Mapping[str, Any]]) -> float:
    """The temperature that makes ranked answers most likely (Guo et al., arXiv 1706.04599), between 0.05 and 20.

    Fit it on other questions than those it is judged on. ValueError for rows that were not ranked.
    """
    from scipy.optimize import minimize_scalar

    ranked = [row for row in rows if row.get("values")]
    if not ranked:
        raise ValueError(
            "no row was ranked, so there is nothing to calibrate; use the inferencer 'likelihood'"
        )

    widest = max(len(row["values"]) for row in ranked)
    values = np.full((len(ranked), widest), -np.inf)
    for place, row in enumerate(ranked):
        values[place, : len(row["values"])] = row["values"]
    right = np.array([row["answer"] for row in ranked])

    def loss(log_temperature: float) -> float:
        scaled = values / math.exp(log_temperature)
        top = scaled.max(1, keepdims=True)
        total = np.log(np.exp(scaled - top).sum(1)) + top[:, 0]
        return float((total - scaled[np.arange(len(right)), right]).mean())

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded")
    return math.exp(float(found.x))
