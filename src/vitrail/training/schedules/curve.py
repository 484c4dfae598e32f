"""The seam of schedules, and a torch scheduler that multiplies each group's own rate by a curve.

A schedule is a component with a frozen ``Config``. For a stage it gives a :class:`CurveScheduler`: the rate of a group
at step n (n optimiser steps made before it) is its base rate times ``factor(n)``, so that groups keep their ratios. Its
state is a few plain numbers in absolute steps, never shares of a run, so that a stage that goes on with it needs no
total length.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitrail.models.towers.tower import ComponentConfig


class CurveScheduler(LRScheduler):
    """Base rates times :meth:`factor`; subclasses name the attributes that make up their state in ``marks``."""

    marks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer, last_epoch)

    def factor(self, n: int) -> float:
        """The share of the base rate with which step ``n`` is made, counted from 0."""
        raise NotImplementedError

    def get_lr(self) -> list[Any]:
        """The groups' rates at the present step."""
        share = self.factor(self.last_epoch)
        return [base * share for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Plain values: the kind of scheduler, the step, base rates and marks."""
        state = {"kind": type(self).__name__, "last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}
        return {**state, **{name: getattr(self, name) for name in self.marks}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, and set the groups' rates. ValueError for the state of another kind of scheduler."""
        own = {"kind", "last_epoch", "base_lrs", *self.marks}
        kind = state_dict.get("kind", "another kind")
        if kind != type(self).__name__ or set(state_dict) != own:
            raise ValueError(
                f"this is the state of {kind}, not of {type(self).__name__}; go on with the schedule that saved it"
            )
        if len(state_dict["base_lrs"]) != len(self.optimizer.param_groups):
            raise ValueError(
                f"the state has {len(state_dict['base_lrs'])} groups of parameters and the optimizer "
                f"{len(self.optimizer.param_groups)}; go on with the same 'trains'"
            )
        self.base_lrs = list(state_dict["base_lrs"])
        for name in ("last_epoch", *self.marks):
            setattr(self, name, state_dict[name])
        self._step_count = self.last_epoch + 1
        self._apply()

    def restart(self) -> None:
        """Begin again at step 0, with the base rates that it has."""
        self.last_epoch, self._step_count = 0, 1
        self._apply()

    def _apply(self) -> None:
        for group, base, rate in zip(self.optimizer.param_groups, self.base_lrs, self.get_lr(), strict=True):
            group["initial_lr"], group["lr"] = base, rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class Schedule:
    """A schedule as a stage names it. ``open_ended``: a stage that ``continues`` another one goes on with its curve;
    otherwise its curve begins again, and only the optimizer's state goes on.
    """

    Config: ClassVar[type[ComponentConfig]]
    open_ended: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    def check(self, steps: int, warmup: int, continues: bool = False) -> None:
        """ValueError, naming field and remedy, if the lengths do not fit into a stage of ``steps``."""

    def scheduler(
        self, optimizer: Optimizer, steps: int, warmup: int, continues: bool = False
    ) -> CurveScheduler:
        """The scheduler of a stage of ``steps`` with ``warmup`` steps of warm-up.

        ``continues``: it follows another stage. One that is ``open_ended`` then gets that stage's state before
        :meth:`goes_on`.
        """
        raise NotImplementedError

    def goes_on(self, scheduler: Any, steps: int) -> None:
        """Prepare a scheduler that has just got another stage's state for ``steps`` more."""

    def trunk(self) -> dict[str, Any]:
        """The settings that a stage shares with the one that it continues."""
        return dict(self.config.model_dump())


def length_of(value: float, steps: int, field: str) -> int:
    """A length in steps: ``value`` itself from 1 on, else that share of ``steps``, rounded. ValueError for 2.5."""
    if value >= 1:
        if value != int(value):
            raise ValueError(f"{field}={value} is neither a share below 1 nor a whole number of steps")
        return int(value)
    return round(value * steps)
