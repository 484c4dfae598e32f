"""How long a step takes, on a machine that may be doing other things.

Whatever else runs makes a step slower, never faster, so equal steps are run several times and the best time counts. How
far the times lie apart says whether the machine is busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ROUNDS = 3
"""How often equal steps are run, where the budget has room for it."""
SHARE = 0.05
"""Share of a time budget within which further rounds are begun."""
BUSY = 1.5
"""How much longer than its best time a step may take on a machine that is ours alone."""


@dataclass(frozen=True)
class StepTime:
    """Seconds a step over the lengths that occur: ``best`` of all rounds, and ``usual``, their mean.

    ``busy``: some step once took more than :data:`BUSY` times its best. With one round nobody can tell, so it is False.
    """

    best: float
    usual: float
    busy: bool

    def note(self, name: str) -> str:
        """A sentence for whoever waits."""
        return (
            f"{name}: this machine is busy: equal steps took {self.best:.3g} s at best and {self.usual:.3g} s on "
            "average; the plan counts on the best, so the stage may take longer than its budget"
        )


def measure(
    run: Callable[[Any], None],
    steps: Sequence[Any],
    seconds: float,
    agreed: Callable[[bool], bool] = bool,
    clock: Callable[[], float] = time.perf_counter,
) -> StepTime:
    """Run ``steps`` and say how long they take: the first once, to warm up, the others :data:`ROUNDS` times.

    After ``seconds`` no further round is begun; at least one is run. ``agreed`` makes that the same decision on every
    process.
    """
    begin = clock()
    run(steps[0])
    rounds: list[list[float]] = []
    while len(rounds) < ROUNDS and (not rounds or agreed(clock() - begin < seconds)):
        rounds.append([_timed(run, step, clock) for step in steps[1:]])
    by_step = list(zip(*rounds, strict=True))
    best = [min(times) for times in by_step]
    usual = [sum(times) / len(times) for times in by_step]
    busy = any(max(times) > BUSY * min(times) for times in by_step)
    return StepTime(sum(best) / len(best), sum(usual) / len(usual), busy)


def _timed(run: Callable[[Any], None], step: Any, clock: Callable[[], float]) -> float:
    begin = clock()
    run(step)
    return clock() - begin
