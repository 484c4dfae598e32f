"""Does what was taken away show where it should, and nowhere else? A rule over several dimensions at once.

Of each arm i, paired with a control seed by seed, dimension i should fall (a superiority test) while every other moves
by less than δ, up or down (two one-sided tests: D. J. Schuirmann 1987, *A comparison of the two one-sided tests
procedure and the power approach for assessing the equivalence of average bioavailability*). An arm's hypothesis is that
one of these is not so, hence its p-value is the largest of theirs (intersection–union test: R. L. Berger 1982,
*Multiparameter hypothesis testing and acceptance sampling*); over arms they are adjusted by Holm's procedure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import NamedTuple

from vitrail.statistics.intervals import Estimate, mean_t
from vitrail.statistics.paired import holm
from vitrail.statistics.verdicts import Decision

Moves = Mapping[str, Sequence[float]]
"""What each dimension lost in each pair of one arm (control − arm)."""


@dataclass(frozen=True)
class Isolation:
    """The rule: δ, the level of the whole, and how many arms are judged at once (``arms``).

    ``level`` is that of each interval (Bonferroni over arms). ValueError for a δ that is not above 0.
    """

    delta: float
    arms: int
    whole: float = 0.95

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"delta is {self.delta}; the smallest effect that matters is a number above 0")
        if self.arms < 1:
            raise ValueError(f"arms is {self.arms}; there must be one at least")

    @property
    def level(self) -> float:
        """Of each interval."""
        return 1 - (1 - self.whole) / self.arms

    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"seen if the ability that was left out falls for sure, by {self.delta:.4g} or more on average, and each "
            f"other one moves by less than {self.delta:.4g} for sure (p of all of these at most "
            f"{(1 - self.whole) / 2:.3g}, Holm over abilities); not seen if the {100 * self.level:.4g} % interval of "
            f"the fall ends below {self.delta:.4g}, or that of another one's move lies beyond {self.delta:.4g}; "
            "otherwise undecided"
        )


class Found(NamedTuple):
    """Of one arm: what is decided, what every dimension lost, and p, adjusted over arms."""

    decision: Decision
    moves: Mapping[str, Estimate]
    p: float


def isolated(arms: Mapping[str, Moves], rule: Isolation) -> dict[str, Found]:
    """Each arm's verdict; an arm bears the name of the dimension that was left out of it.

    ValueError for fewer than two dimensions, or an arm without its own.
    """
    for name, moves in arms.items():
        if name not in moves or len(moves) < 2:
            raise ValueError(
                f"{name} is measured on {', '.join(moves) or 'nothing'}; a weakness is isolated among two dimensions "
                "at least, its own one of them"
            )
    adjusted = holm([largest_p(name, moves, rule.delta) for name, moves in arms.items()])
    found = {}
    for (name, moves), p in zip(arms.items(), adjusted, strict=True):
        estimates = {one: mean_t(values, rule.level) for one, values in moves.items()}
        found[name] = Found(_decision(name, estimates, p, rule), estimates, p)
    return found


def largest_p(own: str, moves: Moves, delta: float) -> float:
    """p of the hypothesis that ``own`` does not fall, or that another dimension moves by ``delta`` or more."""
    parts = [one_sided(moves[own], 0.0)]
    for name, values in moves.items():
        if name != own:
            parts += [one_sided(values, -delta), one_sided([-value for value in values], -delta)]
    return max(parts)


def one_sided(values: Sequence[float], bound: float) -> float:
    """p of Student's test of the hypothesis that the mean is ``bound`` or less."""
    from scipy.special import stdtr

    n, centre = len(values), mean(values)
    spread = stdev(values)
    if spread == 0:  # no noise at all
        return 0.0 if centre > bound else 1.0
    return float(stdtr(n - 1, -(centre - bound) * math.sqrt(n) / spread))


def _decision(own: str, moves: Mapping[str, Estimate], p: float, rule: Isolation) -> Decision:
    fall, delta = moves[own], rule.delta
    others = {name: move for name, move in moves.items() if name != own}
    moved = [name for name, move in others.items() if move.low > delta or move.high < -delta]
    if fall.high < delta:
        return Decision("not seen", fall, why=f"{own} falls by less than {delta:.4g}, if at all")
    if moved:
        return Decision("not seen", fall, why=f"{', '.join(moved)} moved as well, by more than {delta:.4g}")
    if p <= (1 - rule.whole) / 2 and fall.value >= delta:
        return Decision("seen", fall)
    doubtful = [name for name, move in others.items() if move.high >= delta or move.low <= -delta]
    why = [f"{own} does not fall for sure"] if fall.low <= 0 or fall.value < delta else []
    why += [f"it is not sure that {', '.join(doubtful)} stayed where they were"] if doubtful else []
    return Decision("undecided", fall, why="; ".join(why) or "not sure enough among so many abilities")
