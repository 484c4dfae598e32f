"""Repeated cosine decay: warm up and anneal once for each cycle (Loshchilov & Hutter 2017, with warm-up).

The usual practice of continual pre-training, and what the infinite schedule (arXiv 2503.02844) is compared with: for
each dataset a warm-up to η_max and a cosine down to η_min. The first cycle warms up from 0, later ones from η_min; a
stage that ``continues`` another one begins with a later one.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field
from torch.optim import Optimizer

from vitrail.models.towers.tower import ComponentConfig
from vitrail.training.schedules.curve import CurveScheduler, Schedule


def repeated_cosine_lr(
    n: float, eta_max: float, eta_min: float, n_warmup: int, n_cycle: int, *, first: bool = True
) -> float:
    """The rate at step ``n`` with cycles of ``n_cycle`` steps, of which ``n_warmup`` warm up.

    ``first``: step 0 begins the very first cycle, which warms up from 0. ValueError where they do not fit.
    """
    if not 0 <= eta_min <= eta_max:
        raise ValueError(f"minimum={eta_min:g} must lie between 0 and the highest rate, {eta_max:g}")
    if not 0 <= n_warmup < n_cycle:
        raise ValueError(f"warmup={n_warmup} steps must be fewer than the {n_cycle} of a cycle; shorten it")
    cycle, within = divmod(n, n_cycle)
    if within < n_warmup:
        start = 0.0 if first and cycle == 0 else eta_min
        return start + (eta_max - start) * within / n_warmup
    x = (within - n_warmup) / (n_cycle - n_warmup)
    return eta_min + (eta_max - eta_min) * 0.5 * (1 + math.cos(math.pi * x))


class RepeatedCosineScheduler(CurveScheduler):
    """Repeated cosine over an optimizer's groups; ``minimum`` is a share of each group's own rate."""

    marks = ("minimum", "warmup", "cycle", "first")

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        minimum: float,
        warmup: int,
        cycle: int,
        first: bool = True,
        last_epoch: int = -1,
    ) -> None:
        self.minimum, self.warmup, self.cycle, self.first = minimum, warmup, cycle, first
        super().__init__(optimizer, last_epoch)

    def factor(self, n: int) -> float:
        """The share of the base rate at step ``n``."""
        return repeated_cosine_lr(n, 1.0, self.minimum, self.warmup, self.cycle, first=self.first)


class RepeatedCosine(Schedule):
    """Repeated cosine as a stage names it; its cycles share the stage's ``warmup`` equally.

    One cycle fills the stage, and a stage that ``continues`` it begins the next: so each dataset has its own.
    """

    class Config(ComponentConfig):
        """``cycles``: how many the stage has. ``minimum``: where each ends, as a share of the learning rate."""

        cycles: int = Field(default=1, ge=1)
        minimum: float = Field(default=0.1, ge=0, lt=1)

    config: Config

    def check(self, steps: int, warmup: int, continues: bool = False) -> None:
        """ValueError if there is a cycle without a step, or all warm-up."""
        cycle = steps // self.config.cycles
        if self._warmup(warmup) >= cycle:
            raise ValueError(
                f"schedule: cycles={self.config.cycles} in a stage of {steps} steps leave {cycle} steps for each, and "
                f"warmup is {warmup} of the stage; take fewer cycles, or a shorter warm-up"
            )

    def _warmup(self, warmup: int) -> int:
        """The stage's warm-up, shared among its cycles."""
        return math.ceil(warmup / self.config.cycles)

    def scheduler(self, optimizer: Optimizer, steps: int, warmup: int, continues: bool = False) -> Any:
        """Cycles that fill ``steps``."""
        cycle = math.ceil(steps / self.config.cycles)
        return RepeatedCosineScheduler(
            optimizer,
            minimum=self.config.minimum,
            warmup=self._warmup(warmup),
            cycle=cycle,
            first=not continues,
        )
