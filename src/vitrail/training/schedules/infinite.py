r"""The infinite schedule: one warm-up, a cool-down to a moderate rate, and as many steps there as there are data.

"Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate Schedule for Continual Pre-training"
(arXiv 2503.02844); the schedule was first proposed in arXiv 2403.08763. With step n and the marks n_w, n_c, n_d, n_e:

- warm-up, n < n_w: η_max · n / n_w
- cool-down, x = (n − n_w) / (n_c − n_w): η_const + (η_max − η_const) / 2 · (1 + cos πx), or by the inverse square root
  η_max + (η_const − η_max) · h(x) / h(1), h(x) = 1/√(1 + a·x) − 1
- constant, n_c ≤ n < n_d: η_const, without an end
- annealing, n_d ≤ n ≤ n_e: η_const · (η_min / η_const)^((n − n_d) / (n_e − n_d))

Deviations. One public transcription divides by n_e rather than by n_e − n_d, which would not end at η_min: not
followed. Without a cool-down the warm-up goes to η_const, so that the curve has no jump. Linear forms of cool-down and
annealing are added; with them ``warmup, stable, decay`` is the case η_const = η_max. The inverse square root's ``a`` is
a parameter (``sharpness``), since the paper's value could not be verified.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

from pydantic import Field, model_validator
from torch.optim import Optimizer

from vitrail.models.towers.tower import ComponentConfig
from vitrail.training.schedules.curve import CurveScheduler, Schedule, length_of

Cooldown = Literal["cosine", "invsqrt", "linear"]
Annealing = Literal["exponential", "linear"]


def infinite_lr(
    n: float,
    eta_max: float,
    eta_const: float,
    eta_min: float,
    n_warmup: int,
    n_cooldown: int,
    n_anneal_start: int | None = None,
    n_anneal: int | None = None,
    cooldown: Cooldown = "cosine",
    annealing: Annealing = "exponential",
    sharpness: float = 10.0,
) -> float:
    """The rate at step ``n``.

    ``n_warmup`` and ``n_cooldown`` are lengths (the cool-down ends at their sum), ``n_anneal_start`` the step at which
    annealing begins and ``n_anneal`` its length: both or neither. Behind the end of annealing it is ``eta_min``.
    ValueError for rates or lengths out of order.
    """
    check_marks(eta_max, eta_const, eta_min, n_warmup, n_cooldown, n_anneal_start, n_anneal, annealing)
    if n < 0:
        raise ValueError(f"n is {n}; steps count from 0")
    end = n_warmup + n_cooldown
    peak = eta_max if n_cooldown else eta_const
    if n_anneal_start is not None and n_anneal is not None and n >= n_anneal_start:
        x = min((n - n_anneal_start) / n_anneal, 1.0)
        if annealing == "linear":
            return eta_const + (eta_min - eta_const) * x
        return eta_const * (eta_min / eta_const) ** x
    if n < n_warmup:
        return peak * n / n_warmup
    if n < end:
        return eta_const + (eta_max - eta_const) * _left((n - n_warmup) / n_cooldown, cooldown, sharpness)
    return eta_const


def _left(x: float, shape: Cooldown, sharpness: float) -> float:
    """How much of the way from η_const to η_max is left, 1 at x = 0 and 0 at x = 1."""
    if shape == "cosine":
        return 0.5 * (1 + math.cos(math.pi * x))
    if shape == "linear":
        return 1 - x
    return 1 - (1 / math.sqrt(1 + sharpness * x) - 1) / (1 / math.sqrt(1 + sharpness) - 1)


def check_marks(
    eta_max: float,
    eta_const: float,
    eta_min: float,
    n_warmup: int,
    n_cooldown: int,
    n_anneal_start: int | None,
    n_anneal: int | None,
    annealing: Annealing,
) -> None:
    """ValueError, naming field, value and remedy, for rates or lengths out of order."""
    if not (math.isfinite(eta_max) and eta_min <= eta_const <= eta_max and eta_min >= 0):
        raise ValueError(
            f"rates must rise from minimum over constant to the highest, none below 0: minimum={eta_min:g}, "
            f"constant={eta_const:g}, highest={eta_max:g}"
        )
    for field, length in (("warmup", n_warmup), ("cooldown", n_cooldown)):
        if length < 0:
            raise ValueError(f"{field} is {length} steps; give 0 or more")
    if (n_anneal_start is None) != (n_anneal is None):
        raise ValueError("annealing needs both its beginning and its length; give both or neither")
    if n_anneal_start is None or n_anneal is None:
        return
    if n_anneal < 1:
        raise ValueError(f"anneal is {n_anneal} steps; give 1 or more, or leave annealing out")
    if n_anneal_start < n_warmup + n_cooldown:
        raise ValueError(
            f"annealing would begin at step {n_anneal_start}, before the cool-down ends at step "
            f"{n_warmup + n_cooldown}; begin later, or shorten warmup and cooldown"
        )
    if annealing == "exponential" and eta_min <= 0:
        raise ValueError(
            f"minimum is {eta_min:g}, which exponential annealing never reaches; give more than 0, or anneal linearly"
        )


class InfiniteLRScheduler(CurveScheduler):
    """The infinite schedule over an optimizer's groups.

    ``constant`` and ``minimum`` are shares of each group's own rate; ``warmup`` and ``cooldown`` lengths in steps.
    Annealing begins where :meth:`begin_annealing` or :meth:`anneal_at` says; until then there is no end. Stepping past
    the end of annealing stays at the minimum, with one warning.
    """

    marks = (
        "constant",
        "minimum",
        "warmup",
        "cooldown",
        "anneal_start",
        "anneal",
        "cooldown_shape",
        "annealing_shape",
        "sharpness",
    )

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        constant: float,
        minimum: float,
        warmup: int,
        cooldown: int,
        cooldown_shape: Cooldown = "cosine",
        annealing_shape: Annealing = "exponential",
        sharpness: float = 10.0,
        last_epoch: int = -1,
    ) -> None:
        check_marks(1.0, constant, minimum, warmup, cooldown, None, None, annealing_shape)
        self.constant, self.minimum, self.warmup, self.cooldown = constant, minimum, warmup, cooldown
        self.cooldown_shape, self.annealing_shape, self.sharpness = cooldown_shape, annealing_shape, sharpness
        self.anneal_start: int | None = None
        self.anneal: int | None = None
        self._warned = False
        super().__init__(optimizer, last_epoch)

    def factor(self, n: int) -> float:
        """The share of the base rate at step ``n``."""
        return infinite_lr(
            n,
            1.0,
            self.constant,
            self.minimum,
            self.warmup,
            self.cooldown,
            self.anneal_start,
            self.anneal,
            self.cooldown_shape,
            self.annealing_shape,
            self.sharpness,
        )

    def step(self, epoch: int | None = None) -> None:
        """One step on; a warning, once, where that is behind the end of annealing."""
        super().step(epoch)
        end = None if self.anneal_start is None else self.anneal_start + (self.anneal or 0)
        if end is not None and self.last_epoch > end and not self._warned:
            self._warned = True
            warnings.warn(
                f"step {self.last_epoch} is behind the end of annealing at step {end}: the rate stays at its minimum; "
                "go on from the state before annealing instead",
                stacklevel=2,
            )

    @property
    def is_annealing(self) -> bool:
        """Whether the present step is one of annealing."""
        return self.anneal_start is not None and self.last_epoch >= self.anneal_start

    def begin_annealing(self, steps: int) -> None:
        """Anneal from the present step on, for ``steps``."""
        self.anneal_at(self.last_epoch, steps)

    def anneal_at(self, start: int, steps: int) -> None:
        """Anneal from step ``start`` on, for ``steps``. ValueError if that was said before, or the cool-down is not
        over then.
        """
        if self.anneal_start is not None:
            raise ValueError(
                f"annealing begins at step {self.anneal_start} already; go on from the state before it"
            )
        check_marks(
            1.0, self.constant, self.minimum, self.warmup, self.cooldown, start, steps, self.annealing_shape
        )
        self.anneal_start, self.anneal = start, steps
        self._apply()


def constant_lr(optimizer: Optimizer, *, warmup: int = 0) -> InfiniteLRScheduler:
    """A warm-up, and the full rate without an end; it can be annealed like any other."""
    return InfiniteLRScheduler(
        optimizer, constant=1.0, minimum=0.0, warmup=warmup, cooldown=0, annealing_shape="linear"
    )


def wsd(
    optimizer: Optimizer, *, warmup: int, stable: int, decay: int, minimum: float = 0.0
) -> InfiniteLRScheduler:
    """Warm-up, ``stable`` steps at the full rate, then ``decay`` steps down to the share ``minimum``, in a line."""
    scheduler = InfiniteLRScheduler(
        optimizer, constant=1.0, minimum=minimum, warmup=warmup, cooldown=0, annealing_shape="linear"
    )
    scheduler.anneal_at(warmup + stable, decay)
    return scheduler


class Infinite(Schedule):
    """The infinite schedule as a stage names it: ``schedule: {name: infinite, constant: 0.5, anneal: 0.15}``.

    The stage's learning rate is η_max and its ``warmup`` the warm-up.
    """

    open_ended = True

    class Config(ComponentConfig):
        """``constant``, ``minimum``: η_const and η_min as shares of η_max. ``cooldown``, ``anneal``: steps, or shares
        of the stage's steps if below 1. ``anneal`` 0: the stage ends at η_const, and another one may continue it.
        """

        constant: float = Field(default=0.55, gt=0, le=1)
        minimum: float = Field(default=0.1, ge=0, le=1)
        cooldown: float = Field(default=0.6, ge=0)
        anneal: float = Field(default=0.0, ge=0)
        cooldown_shape: Cooldown = "cosine"
        annealing_shape: Annealing = "exponential"
        sharpness: float = Field(default=10.0, gt=0)

        @model_validator(mode="after")
        def _in_order(self) -> Infinite.Config:
            check_marks(1.0, self.constant, self.minimum, 0, 0, None, None, self.annealing_shape)
            if self.annealing_shape == "exponential" and self.minimum <= 0:
                raise ValueError(
                    "minimum is 0, which exponential annealing never reaches; give more, or annealing_shape: linear"
                )
            for field in ("cooldown", "anneal"):
                length_of(getattr(self, field), 1, field)
            return self

    config: Config

    def check(self, steps: int, warmup: int, continues: bool = False) -> None:
        """ValueError if warm-up, cool-down and annealing are longer than the stage."""
        cooldown, anneal = self._lengths(steps)
        wanted = anneal if continues else warmup + cooldown + anneal
        if wanted > steps:
            parts = "" if continues else f"warmup={warmup} and cooldown={cooldown} and "
            raise ValueError(
                f"schedule: {parts}anneal={anneal} steps do not fit into a stage of {steps}; shorten them, "
                "or give shares"
            )

    def scheduler(
        self, optimizer: Optimizer, steps: int, warmup: int, continues: bool = False
    ) -> InfiniteLRScheduler:
        """A fresh curve for ``steps``; annealing ends with them."""
        cooldown, anneal = self._lengths(steps)
        config = self.config
        made = InfiniteLRScheduler(
            optimizer,
            constant=config.constant,
            minimum=config.minimum,
            warmup=warmup,
            cooldown=cooldown,
            cooldown_shape=config.cooldown_shape,
            annealing_shape=config.annealing_shape,
            sharpness=config.sharpness,
        )
        if anneal and not continues:
            made.anneal_at(steps - anneal, anneal)
        return made

    def goes_on(self, scheduler: Any, steps: int) -> None:
        """Anneal in the last of ``steps`` more, if the stage says so."""
        anneal = self._lengths(steps)[1]
        if anneal:
            scheduler.anneal_at(scheduler.last_epoch + steps - anneal, anneal)

    def trunk(self) -> dict[str, Any]:
        """Everything but whether and how long a stage anneals."""
        return {name: value for name, value in self.config.model_dump().items() if name != "anneal"}

    def _lengths(self, steps: int) -> tuple[int, int]:
        config = self.config
        return length_of(config.cooldown, steps, "cooldown"), length_of(config.anneal, steps, "anneal")
