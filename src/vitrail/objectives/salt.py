"""SALT: in the first steps a large model also learns from a small one's distribution, which then leaves.

Rawat et al., "A Little Help Goes a Long Way: Efficient LLM Training by Leveraging Small LMs" (arXiv 2410.18779):
step j minimises ``(1 − ω_j) CE + ω_j KD`` (:mod:`vitrail.objectives.mixed_distillation`) with ω_j = ω for j ≤ n_kd
and 0 after, one optimiser and one schedule throughout. ``decay: linear`` and ``cosine`` let ω fall over the n_kd steps;
``decay: never`` keeps the teacher to the end (the paper's RKD baseline, which learns faster at first and ends worse).

ω depends on the number of the step alone, so a resumed stage goes on with the same one; a teacher that is not needed
any more leaves memory. ω = 2/3 and τ = 1/4 are remembered from the paper, not verified. The published runs took n_kd =
36,000 of 208,000 steps; a plateau up to 60,000 is reported.

For a multimodal student the loss is on words, and pictures go to both; a teacher without pictures reads words alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from vitrail.objectives.distilled import Distilled
from vitrail.objectives.forward import Batch, Needs, Seen
from vitrail.objectives.labelled import learnt_tokens, token_weights
from vitrail.objectives.mixed_distillation import soft_cross_entropy
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Loss
from vitrail.objectives.teacher import NamedTeacher, Teacher

Decay = Literal["step", "linear", "cosine", "never"]


@dataclass(frozen=True)
class OmegaSchedule:
    """ω by step. ``kind`` is how it leaves: at once after ``n_kd`` steps, in a line or a half cosine, or never.

    ValueError for an ω outside [0, 1], or n_kd below 1 where it is needed, or given where it has no effect.
    """

    kind: Decay = "step"
    n_kd: int | None = None
    omega: float = 2 / 3

    def __post_init__(self) -> None:
        if not 0 <= self.omega <= 1:
            raise ValueError(f"omega is {self.omega}; give a number from 0 to 1")
        if (self.kind == "never") != (self.n_kd is None):
            wrong = "has no effect" if self.kind == "never" else "is needed"
            raise ValueError(f"n_kd {wrong} with decay {self.kind!r}")
        if self.n_kd is not None and self.n_kd < 1:
            raise ValueError(f"n_kd is {self.n_kd}; give 1 step or more")

    def at(self, step: int) -> float:
        """ω of a step, which are numbered from 1."""
        if self.n_kd is None:
            return self.omega
        if step > self.n_kd:
            return 0.0
        left = 1 - (step - 1) / self.n_kd
        return {
            "step": self.omega,
            "linear": self.omega * left,
            "cosine": self.omega * (1 - math.cos(math.pi * left)) / 2,
        }[self.kind]

    def ended(self, step: int) -> bool:
        """Whether ω is 0 at this step and all that follow."""
        return self.n_kd is not None and step > self.n_kd


class Salt(NextToken, Distilled):
    """See the module. Terms: ``next_token``; ``distillation`` while the teacher is asked; ``z_loss`` if asked for."""

    class Config(NextToken.Config):
        """As next token's. ``omega``: the teacher's share; ``temperature``: τ of its distribution; ``n_kd``: for how
        many steps, or what share of them below 1; ``decay``: how the share leaves; ``chunk``: positions whose float32
        softmaxes are alive together.
        """

        teacher: NamedTeacher
        omega: float = Field(default=2 / 3, gt=0, le=1)
        temperature: float = Field(default=0.25, gt=0)
        n_kd: float | None = Field(default=None, gt=0)
        decay: Decay = "step"
        chunk: int = Field(default=256, ge=1)

    config: Config
    takes_packed = False

    def __init__(self, config: Config, teacher: Teacher | None = None) -> None:
        Distilled.__init__(self, teacher)
        self.config = config
        self.terms = ("next_token", "distillation", *(("z_loss",) if config.z_loss else ()))
        self._step, self._steps = 1, 0

    @classmethod
    def check(cls, config: Config, stage: Any) -> None:
        """ValueError where the teacher would never leave without being asked to stay, or never come."""
        _steps_with_teacher(config, 0 if stage.max_steps is None else stage.max_steps)

    def at(self, step: int, steps: int) -> None:
        """Set ω; a teacher that is not needed any more leaves memory."""
        self._step, self._steps = step, steps
        if self._teacher is not None and self._teacher.present and self.schedule.ended(step):
            self._teacher.release()

    @property
    def schedule(self) -> OmegaSchedule:
        """ω by step, in a stage of the length that :meth:`at` told."""
        n_kd = _steps_with_teacher(self.config, self._steps)
        return OmegaSchedule(self.config.decay, n_kd, self.config.omega)

    @property
    def omega(self) -> float:
        """ω of this step."""
        return self.schedule.at(self._step)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Learnt tokens, and those at which the teacher can be asked."""
        found = super().counts(batch)
        if self.omega:
            return {**found, "distillation": int(self._asked(batch).sum())}
        return {term: units for term, units in found.items() if term != "distillation"}

    def _asked(self, batch: Batch) -> Bool[Tensor, "batch tokens"]:
        return F.pad(learnt_tokens(batch), (0, 1)) & self.teacher.readable(batch)

    def needs(self, batch: Batch) -> Needs:
        """Logits in front of the labelled tokens."""
        found = super().needs(batch)
        return found.union(Needs(self._asked(batch))) if self.omega else found

    def read(self, seen: Seen, batch: Batch, noted: Any) -> Loss:
        """Both sums, with (1 − ω) and ω as their weights; the first alone where ω is 0."""
        found, omega = super().read(seen, batch, noted), self.omega
        if not omega:
            return found
        at = self._asked(batch)
        other = self.teacher.look(batch, Needs(at))
        weights = token_weights(batch)
        soft = soft_cross_entropy(
            seen.logits(at),
            other.logits(at),
            self.config.temperature,
            vocabulary=self.teacher.vocabulary,
            weights=None if weights is None else weights.roll(-1, 1)[at],
            chunk=self.config.chunk,
        )
        return Loss(
            {**found.sums, "distillation": soft},
            {**found.counts, "distillation": int(at.sum())},
            {**found.weights, "next_token": 1 - omega, "distillation": omega},
        )


def _steps_with_teacher(config: Salt.Config, steps: int) -> int | None:
    """n_kd in steps, in a stage of so many (0: not known). ValueError for one that does not end within it."""
    if (config.decay == "never") != (config.n_kd is None):
        raise ValueError(
            "objective salt: n_kd is needed: for how many steps (or what share of them) the teacher is asked; "
            "decay: never keeps it to the end"
            if config.n_kd is None
            else f"objective salt: n_kd is {config.n_kd}, which has no effect with decay: never; remove it"
        )
    if config.n_kd is None:
        return None
    if config.n_kd >= 1 and config.n_kd != int(config.n_kd):
        raise ValueError(f"objective salt: n_kd is {config.n_kd}; give whole steps, or a share below 1")
    n_kd = int(config.n_kd) if config.n_kd >= 1 else max(math.ceil(config.n_kd * steps), 1)
    if steps > 1 and n_kd >= steps:
        raise ValueError(
            f"objective salt: n_kd is {n_kd} of {steps} steps, so the teacher never leaves; make it smaller, or "
            "ask for that with decay: never"
        )
    return n_kd
