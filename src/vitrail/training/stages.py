"""One training phase: what trains, on what data, with which objective, schedule and budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vitrail.training.named_objectives import ObjectiveConfig, OneOrSeveral
from vitrail.training.named_schedules import NamedSchedule, ScheduleConfig
from vitrail.training.packing import Packing, fewest_rows
from vitrail.training.probing import Probes
from vitrail.training.selection import select_parameters

__all__ = ["ObjectiveConfig", "StageConfig", "select_parameters"]


def _as_packing(value: Any) -> Any:
    return {"length": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class StageConfig(BaseModel):
    """What a stage does. At least one budget is given; of several the shortest holds.

    ``objective``: one, by name or with its settings, or a list of several, each with a ``weight`` (default 1).
    ``trains``: parts by anatomy (``"connector"``, ``"language"``, ``"language.lora"``, ``"all"``).
    ``learning_rate``: one, or one for each of ``trains`` (and ``"objective"``). ``max_minutes`` becomes a
    number of steps by measuring some, before the first. ``schedule``: one of transformers' by name, or one of ours
    with its settings (``{name: infinite, anneal: 0.1}``). ``warmup``: steps, or a share of them if below 1.
    ``decay``: the last share of the steps in which ``wsd`` falls. ``min_learning_rate``: where
    ``cosine_with_min_lr`` ends, as a share. ``continues`` names an earlier stage from whose end this one goes on:
    weights, optimizer and, where the schedule is without an end, its place on the schedule; two stages that continue
    the same one do not know of each other. ``probes`` measures losses on other data while the stage runs.
    ``workers``: processes that make batches ready. ``ahead``: how many micro-batches threads make ready while a step
    runs, which holds so many of decoded pictures. Batches hold ``batch_size`` records on each process,
    ``accumulation`` of them make one optimiser step. ``packing`` (a number, or :class:`Packing`) lets records share
    rows of so many tokens; ``batch_size`` then counts rows. ``gradient_checkpointing`` computes activations again in
    the backward pass instead of keeping them: of all blocks, or of those of some parts by anatomy (``[language]``,
    ``["language.layers[:12]", tower]``). ``sharding: full`` gives each of several processes a share of every weight and
    of the optimizer's state (FSDP2); by ``none`` each has them whole (DDP).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)
    data: str = Field(default="train", min_length=1)
    objective: OneOrSeveral = Field(default=cast(Any, "next_token"), validate_default=True)
    trains: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=("connector",), min_length=1
    )
    seed: int | None = Field(default=None, ge=0)
    continues: str | None = Field(default=None, min_length=1)

    max_steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    max_minutes: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=8, ge=1)
    accumulation: int = Field(default=1, ge=1)
    length_batches: bool = True
    packing: Annotated[Packing | None, BeforeValidator(_as_packing)] = None
    workers: int = Field(default=0, ge=0)
    ahead: int = Field(default=0, ge=0)

    learning_rate: float | dict[str, float] = 1e-3
    schedule: NamedSchedule = "cosine"
    warmup: float = Field(default=0.03, ge=0)
    decay: float | None = Field(default=None, gt=0, le=1)
    min_learning_rate: float | None = Field(default=None, ge=0, lt=1)
    optimizer: str = "adamw_torch_fused"
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float | None = Field(default=1.0, gt=0)

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: Annotated[bool | tuple[str, ...], BeforeValidator(_as_tuple)] = False
    sharding: Literal["none", "full"] = "none"
    checkpoint_steps: int | None = Field(default=None, ge=1)
    checkpoint_minutes: float | None = Field(default=2.0, gt=0)
    checkpoints_kept: int = Field(default=2, ge=1)
    report_to: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    probes: Probes | None = None

    @model_validator(mode="after")
    def _agrees(self) -> StageConfig:
        if self.max_steps is None and self.epochs is None and self.max_minutes is None:
            raise ValueError("a stage needs a budget: give max_steps, epochs or max_minutes")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise ValueError(f"warmup={self.warmup} is neither a share below 1 nor a whole number of steps")
        if self.max_steps is not None:
            self.require_fits(self.max_steps)
        if self.decay is not None and self.schedule != "wsd":
            raise ValueError(
                f"decay has no effect with schedule={self.schedule!r}; remove it, or choose 'wsd'"
            )
        if self.min_learning_rate is not None and self.schedule not in ("cosine_with_min_lr", "wsd"):
            raise ValueError(
                f"min_learning_rate has no effect with schedule={self.schedule!r}; remove it, "
                "or choose 'cosine_with_min_lr' or 'wsd'"
            )
        if self.workers and self.ahead:
            raise ValueError(
                "workers (processes) and ahead (threads) both make batches ready; give one of the two"
            )
        if self.packing is not None and not self.length_batches:
            raise ValueError("length_batches has no effect with packing; remove it")
        if self.gradient_checkpointing == ():
            raise ValueError("gradient_checkpointing names no part; give true, false, or parts by anatomy")
        self._check_rates()
        for one in self.objectives:
            if (check := getattr(one.component(), "check", None)) is not None:
                check(one.config, self)
        return self

    def _check_rates(self) -> None:
        rates = self.learning_rate if isinstance(self.learning_rate, dict) else {"": self.learning_rate}
        for name, rate in rates.items():
            if not (math.isfinite(rate) and rate >= 0):
                raise ValueError(
                    f"learning_rate{'.' * bool(name)}{name} is {rate}; give a number of 0 or more"
                )
        if isinstance(self.learning_rate, dict):
            missing = [name for name in self.trains if name not in rates]
            unknown = [name for name in rates if name not in (*self.trains, "objective")]
            if missing or unknown:
                wrong = f"lacks {missing[0]!r}" if missing else f"names {unknown[0]!r}"
                raise ValueError(
                    f"learning_rate {wrong}; it needs one rate for each of trains: {list(self.trains)}"
                )

    @property
    def made_schedule(self) -> Any:
        """The schedule, where it is one of ours (:class:`~vitrail.training.schedules.curve.Schedule`); else None."""
        return self.schedule.build() if isinstance(self.schedule, ScheduleConfig) else None

    @property
    def goes_on_with_schedule(self) -> bool:
        """Whether its schedule is without an end, so that a stage that continues another one keeps its place on it."""
        schedule = self.made_schedule
        return schedule is not None and schedule.open_ended

    def require_fits(self, steps: int) -> None:
        """ValueError if warm-up, schedule or probes do not fit into a stage of ``steps``."""
        warm = self.warmup_steps(steps)
        if (schedule := self.made_schedule) is not None:
            schedule.check(steps, warm, self.continues is not None)
        if self.probes is not None and self.probes.every > steps:
            raise ValueError(
                f"probes.every={self.probes.every:g} is longer than the stage of {steps} steps; probe more often"
            )

    def warmup_steps(self, steps: int) -> int:
        """Warm-up in steps, in a stage of ``steps``; none where it goes on with another stage's schedule.

        ValueError if it is as long as the stage.
        """
        if self.continues is not None and self.goes_on_with_schedule:
            return 0
        warm = int(self.warmup) if self.warmup >= 1 else math.ceil(self.warmup * steps)
        if self.warmup >= 1 and warm >= steps:
            raise ValueError(
                f"warmup={warm} steps does not fit into a stage of {steps}; shorten it, or give a share"
            )
        return min(warm, steps - 1)

    @property
    def objectives(self) -> tuple[ObjectiveConfig, ...]:
        """What the stage minimises, each with its ``factor``, whether it is one or several."""
        return self.objective if isinstance(self.objective, tuple) else (self.objective,)

    @property
    def records_a_step(self) -> int:
        """Records of one optimiser step on one process; with packing, rows of records."""
        return self.batch_size * self.accumulation

    def fitted(self, records: int, processes: int = 1, lengths: Sequence[int] | None = None) -> StageConfig:
        """The stage for data of so many ``records``, which may be fewer than one optimiser step takes.

        The step then takes what there is: first ``batch_size`` gets smaller, then ``accumulation``. Unchanged where the
        data has enough, or not even one record a process. With packing ``lengths``, the records' tokens, say how many
        rows there are; without them it is unchanged.
        """
        if self.packing is not None:
            if lengths is None:
                return self
            records = fewest_rows(lengths, self.packing)
        if processes * self.records_a_step <= records or records < processes:
            return self
        batch_size = min(self.batch_size, max(records // (self.accumulation * processes), 1))
        accumulation = min(self.accumulation, records // (batch_size * processes))
        return self.model_copy(update={"batch_size": batch_size, "accumulation": accumulation})

    def rate_of(self, part: str) -> float:
        """The learning rate of one of ``trains``, or of ``"objective"`` (by default the largest)."""
        if not isinstance(self.learning_rate, dict):
            return self.learning_rate
        return self.learning_rate.get(part, max(self.learning_rate.values()))

    def identity(self) -> dict[str, Any]:
        """What the trajectory depends on: everything but how often to save, and whom to tell."""
        apart = {
            "workers",
            "ahead",
            "sharding",
            "checkpoint_steps",
            "checkpoint_minutes",
            "checkpoints_kept",
            "report_to",
        }
        return self.model_dump(mode="json", exclude=apart)
