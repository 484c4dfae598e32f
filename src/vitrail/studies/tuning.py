"""Tuning: every arm gets the same number of trials on the development fold, and the best one is taken.

Trials are a grid of factors on the recipe's learning rates, three apart, times the arm's own grid. An arm without one
spends its trials on a finer grid of factors. If the best factor is the outermost, every arm gets one more trial beyond
its own edge, twice at most; a best trial that is still outermost is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrail.studies.arms import Arm

SPACING = 3.0
EXTENSIONS = 2
Trial = dict[str, Any]
"""``factor`` and ``settings``, and once it has run ``score``."""


@dataclass(frozen=True)
class Tuned:
    """An arm's best trial, all of them, and whether the best factor is the outermost that was tried."""

    factor: float
    settings: Mapping[str, Any]
    trials: tuple[Trial, ...]
    edge: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "factor": self.factor,
            "settings": dict(self.settings),
            "trials": [dict(trial) for trial in self.trials],
            "edge": self.edge,
        }


def factors(count: int) -> list[float]:
    """``count`` factors around 1: thirds and threes; more than three fill the same span of a decade."""
    if count == 1:
        return [1.0]
    if count == 2:
        return [1 / SPACING, 1.0]
    span = 2 if count <= 3 else 3
    return [SPACING ** (span * (index / (count - 1) - 0.5)) for index in range(count)]


def first_trials(arms: Sequence[Arm], trials: int) -> dict[str, list[Trial]]:
    """The trials of each arm, equally many: ``trials`` factors for each combination of the largest grid."""
    most = max(len(arm.settings()) for arm in arms)
    found = {}
    for arm in arms:
        combinations = arm.settings()
        each, more = divmod(trials * most, len(combinations))
        found[arm.name] = [
            {"factor": factor, "settings": settings}
            for index, settings in enumerate(combinations)
            for factor in factors(each + (index < more))
        ]
    return found


def tune(
    arms: Sequence[Arm], trials: int, run: Callable[[Sequence[tuple[Arm, Trial]]], Sequence[float]]
) -> dict[str, Tuned]:
    """Tune all arms. ``run`` gives the scores of trials (more is better), for all that are ready at once."""
    tried: dict[str, list[Trial]] = {arm.name: [] for arm in arms}
    todo = first_trials(arms, trials)
    for extension in range(EXTENSIONS + 1):
        wanted = [(arm, trial) for arm in arms for trial in todo[arm.name]]
        for (arm, trial), score in zip(wanted, run(wanted), strict=True):
            tried[arm.name].append({**trial, "score": score})
        found = {arm.name: _best(tried[arm.name]) for arm in arms}
        if trials == 1 or extension == EXTENSIONS or not any(one.edge for one in found.values()):
            return found
        todo = {arm.name: [_beyond(tried[arm.name], found[arm.name])] for arm in arms}
    return found


def _best(trials: Sequence[Trial]) -> Tuned:
    best = max(trials, key=lambda trial: (trial["score"], -abs(trial["factor"] - 1)))
    beside = sorted(trial["factor"] for trial in trials if trial["settings"] == best["settings"])
    edge = len(beside) > 1 and best["factor"] in (beside[0], beside[-1])
    return Tuned(best["factor"], best["settings"], tuple(trials), edge)


def _beyond(trials: Sequence[Trial], found: Tuned) -> Trial:
    """One trial more: beyond the edge that the best one is at, else between it and its better neighbour."""
    beside = sorted(trial["factor"] for trial in trials if trial["settings"] == found.settings)
    place = beside.index(found.factor)
    if len(beside) == 1 or place == len(beside) - 1:
        factor = found.factor * SPACING
    elif place == 0:
        factor = found.factor / SPACING
    else:
        scores = {t["factor"]: t["score"] for t in trials if t["settings"] == found.settings}
        other = max(beside[place - 1], beside[place + 1], key=lambda one: scores[one])
        factor = (found.factor * other) ** 0.5
    return {"factor": factor, "settings": dict(found.settings)}
