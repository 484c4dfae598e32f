"""The seam of mixtures: which share each source has, and whether that changes with losses.

A rule is a component with a frozen ``Config``. :meth:`Rule.check` sees names and shares when a recipe is read, before
anything is opened. A rule that ``follows`` losses gives :meth:`Rule.sampler`, whose ``mixture`` holds for a round and
whose ``update`` takes the losses at its end.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.mixtures.drawing import shares


class MixtureConfig(BaseModel):
    """The frozen configuration of a rule; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def interval(every: float, steps: int) -> int:
    """``every`` itself from 1 on; below 1 that share of ``steps``, rounded up."""
    return int(every) if every >= 1 else max(1, math.ceil(every * steps - 1e-9))


class Sampler(Protocol):
    """A mixture that changes: one share for each training source."""

    @property
    def mixture(self) -> np.ndarray:
        """The shares of the present round."""

    def update(self, losses: Any) -> np.ndarray:
        """The shares of the next round, from the losses of what is evaluated, in their order."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from plain values."""


class Rule:
    """What a mixture's ``rule`` names. ``follows``: it changes with losses, in rounds of ``every`` steps."""

    Config: ClassVar[type[MixtureConfig]]
    follows: ClassVar[bool] = False
    redraws: bool = True
    """Whether each epoch reads on in its sources; otherwise all epochs have the records of the first."""

    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    def check(self, names: list[str], weights: list[float] | None) -> None:
        """ValueError for settings that do not fit the sources; ``weights`` None where their sizes decide."""

    def shares(self, names: list[str], weights: list[float]) -> np.ndarray:
        """The share of each source."""
        return shares(weights)

    def every(self, steps: int) -> int:
        """Optimiser steps of a round in a stage of ``steps``, where the rule follows losses.

        ValueError if the stage is no whole number of rounds; where a round is a share of it, the last may be shorter.
        """
        if self.config.every >= 1 and steps % int(self.config.every):
            raise ValueError(f"changes every {self.config.every:g} steps; give a multiple of it, not {steps}")
        return interval(self.config.every, steps)

    def unused(self, names: list[str]) -> list[str]:
        """Sources that are named for their share alone, and never read."""
        return []

    def evaluated(self, names: list[str]) -> list[str]:
        """The data whose losses the rule follows."""
        return []

    def sampler(self, names: list[str], weights: list[float]) -> Sampler:
        """What changes from round to round, where the rule follows losses."""
        raise NotImplementedError


class Fixed(Rule):
    """The given shares throughout; without any, each source's size.

    ``temperature`` T makes them ``p_i^(1/T)``, as is usual for languages (Conneau & Lample 2019, with α = 1/T): 1 as
    they are, higher more even.
    """

    class Config(MixtureConfig):
        """``temperature`` as above."""

        temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    config: Config

    def shares(self, names: list[str], weights: list[float]) -> np.ndarray:
        """``p_i^(1/T)``, normalised."""
        return shares(weights, self.config.temperature)
