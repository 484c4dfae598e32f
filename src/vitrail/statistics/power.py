"""How many paired seeds a comparison needs, and how likely it then ends as it should.

The effect is the mean of n paired differences, its interval Student's. With differences of standard deviation σ and a
true effect δ the interval lies above 0 with the probability that a noncentral t of n − 1 degrees of freedom and
noncentrality δ√n/σ exceeds t's quantile (J. Cohen, *Statistical Power Analysis*, 1988).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FEWEST = 8
"""Fewer seeds than this carry no verdict."""


def power(n: int, sd: float, effect: float, level: float = 0.95) -> float:
    """Probability that the interval of n paired differences lies above 0, when the true effect is ``effect`` > 0.

    ``sd`` is the standard deviation of one difference. ValueError for n below 2 or a negative ``sd``.
    """
    from scipy.stats import nct, t

    if n < 2 or sd < 0:
        raise ValueError(f"n={n}, sd={sd}: at least 2 differences, and a standard deviation of 0 or more")
    if sd == 0:
        return 1.0 if effect > 0 else 0.0
    critical = float(t.ppf(0.5 + level / 2, n - 1))
    found = float(nct.sf(critical, n - 1, effect * math.sqrt(n) / sd))
    # scipy gives nan far out in the tail, where the answer is 1.
    return 1.0 if math.isnan(found) else found


def seeds_needed(
    sd: float,
    effect: float,
    *,
    wanted: float = 0.8,
    level: float = 0.95,
    fewest: int = FEWEST,
    most: int = 64,
) -> int | None:
    """The smallest n in ``fewest`` … ``most`` whose power for ``effect`` is at least ``wanted``; None if none has."""
    if effect <= 0:
        raise ValueError(f"effect is {effect}; the smallest effect that matters is above 0")
    for n in range(fewest, most + 1):
        if power(n, sd, effect, level) >= wanted:
            return n
    return None


def detectable(n: int, sd: float, *, wanted: float = 0.8, level: float = 0.95) -> float:
    """The smallest true effect that n seeds show with probability ``wanted``."""
    from scipy.optimize import brentq

    if sd == 0:
        return 0.0
    high = sd
    while power(n, sd, high, level) < wanted:
        high *= 2
    return float(brentq(lambda effect: power(n, sd, effect, level) - wanted, 0.0, high))


def noise(first: Sequence[float], second: Sequence[float]) -> float:
    """Standard deviation of the difference of two runs of the same recipe (A/A), from pairs of independent runs.

    The mean difference is 0 by construction, so k pairs give k degrees of freedom: √(Σ d² / k). ValueError for fewer
    than 2 pairs.
    """
    d = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if d.ndim != 1 or len(d) < 2:
        raise ValueError(f"an A/A run needs at least 2 pairs, got {d.size}")
    return float(np.sqrt((d**2).mean()))
