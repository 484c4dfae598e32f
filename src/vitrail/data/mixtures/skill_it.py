r"""Skill-It: shares of skills that follow the losses of what they influence.

"Skill-it! A Data-Driven Skills Framework for Understanding and Training Language Models" (arXiv 2307.14430). With the
graph A (k training skills by m evaluated ones), prior π, step size η and window w, round t + 1 has the shares

    p_i ∝ π_i · exp(η · Σ_j A[i, j] · L̄_j),    L̄_j = the sum of the last w losses of skill j

(the mean of them for ``reduce="mean"``, as the reference does for chosen targets); round 1 takes every loss as 1. It is
computed anew from the prior in each round, never multiplied on. A binary graph is damped before it is used. The
exponent is shifted by its largest value, so that losses of any size do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator

from vitrail.data.mixtures.drawing import shares
from vitrail.data.mixtures.rule import MixtureConfig, Rule
from vitrail.data.mixtures.skill_graph import SkillGraph


class SkillItSampler:
    """The shares of a skills graph, round by round.

    ``prior``: shares to begin with (default: equal). ``normalise`` divides each loss by the first of its skill;
    ``eta_schedule`` divides η by the sum of the losses, relative to the first ones, so that it grows as they fall;
    ``damping`` halves what is off the diagonal after each round; ``keep_isolated`` leaves skills without an edge at
    1/k; ``initial_losses`` (or their mean) stand as an evaluation before the first. ``reduce``: over the window.
    """

    def __init__(
        self,
        graph: SkillGraph,
        eta: float,
        window: int = 3,
        prior: Sequence[float] | np.ndarray | None = None,
        normalise: bool = False,
        eta_schedule: bool = False,
        damping: bool = False,
        keep_isolated: bool = False,
        reduce: Literal["sum", "mean"] = "sum",
        initial_losses: Sequence[float] | None = None,
    ) -> None:
        if window < 1:
            raise ValueError(f"window is {window}; give 1 (the latest losses alone) or more")
        if not (math.isfinite(eta) and eta >= 0):
            raise ValueError(f"eta is {eta}; give a finite number of 0 or more (0 keeps the prior)")
        if damping and not graph.square:
            raise ValueError(
                "damping needs a graph whose training skills are its evaluated ones; leave it out"
            )
        self.graph, self.eta, self.window = graph.damped(), eta, window
        k = len(graph.train_skills)
        self.prior = shares(np.full(k, 1.0) if prior is None else prior)
        if len(self.prior) != k:
            raise ValueError(f"prior has {len(self.prior)} shares for {k} training skills")
        self.normalise, self.eta_schedule, self.damping = normalise, eta_schedule, damping
        self.keep_isolated, self.reduce = keep_isolated, reduce
        self.rounds, self.first, self.losses = 0, None, []  # type: int, list[float] | None, list[list[float]]
        ones = np.ones(len(graph.eval_skills))
        self.mixture: Float[np.ndarray, "train"] = self._shares(ones, eta)
        if initial_losses is not None:
            given = self._checked(initial_losses)
            self.losses.append(np.full(len(given), given.mean()).tolist())
            self.first = given.tolist()

    def update(self, losses: Sequence[float] | np.ndarray) -> np.ndarray:
        """The shares of the next round, from the losses of the evaluated skills in their order."""
        given = self._checked(losses)
        self.first = given.tolist() if self.first is None else self.first
        first = np.array(self.first)
        self.losses = [*self.losses, given.tolist()][-self.window :]
        seen = np.array(self.losses) / (first if self.normalise else 1.0)
        reduced = seen.sum(axis=0) if self.reduce == "sum" else seen.mean(axis=0)
        eta = self.eta
        if self.eta_schedule:
            eta = eta / max(float(given.sum() / first.sum()), 1e-12)
        self.rounds += 1
        self.mixture = self._shares(reduced, eta)
        return self.mixture

    def _checked(self, losses: Sequence[float] | np.ndarray) -> np.ndarray:
        given, names = np.asarray(losses, dtype=np.float64), self.graph.eval_skills
        if given.shape != (len(names),):
            raise ValueError(f"{given.size} losses for the {len(names)} evaluated skills {', '.join(names)}")
        if not np.isfinite(given).all():
            bad = names[int(np.flatnonzero(~np.isfinite(given))[0])]
            raise ValueError(f"the loss of {bad!r} is not a finite number; the model may have diverged")
        return given

    def _shares(self, losses: np.ndarray, eta: float) -> np.ndarray:
        matrix = self.graph.matrix
        if self.damping:
            scale = np.full(matrix.shape, 0.5**self.rounds)
            np.fill_diagonal(scale, 1.0)
            matrix = matrix * scale
        with np.errstate(divide="ignore"):
            logs = np.log(self.prior) + eta * (matrix @ losses)
        found = np.exp(logs - logs.max())
        found /= found.sum()
        isolated = self.graph.isolated()
        if self.keep_isolated and isolated.any() and not isolated.all():
            k = len(found)
            rest = found[~isolated].sum()
            found = np.where(isolated, 1 / k, found / rest * (1 - isolated.sum() / k))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rounds": self.rounds,
            "first": self.first,
            "losses": self.losses,
            "mixture": self.mixture.tolist(),
            "skills": [self.graph.train_skills, self.graph.eval_skills],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from plain values. ValueError for those of other skills."""
        if [list(names) for names in state["skills"]] != [self.graph.train_skills, self.graph.eval_skills]:
            raise ValueError("the state is of other skills; go on with the mixture that it was saved by")
        self.rounds, self.first = int(state["rounds"]), state["first"]
        self.losses, self.mixture = [list(row) for row in state["losses"]], np.array(state["mixture"])


class SkillIt(Rule):
    """Skill-It as a mixture's rule: ``rule: {name: skill_it, graph: [[1, 0], [0.5, 1]], eta: 0.5, every: 100}``.

    A row of the graph for each of the mixture's sources, in their order, and a column for each of ``evaluate``
    (default: the sources themselves). The sources' own shares are the prior.
    """

    follows = True

    class Config(MixtureConfig):
        """``every``: optimiser steps of a round, or a share of the stage's if below 1. ``evaluate``: names of data
        whose losses are followed; ``records``: how many of each. ``targets``: those that matter (default: all), reduced
        by their mean over the window.
        """

        graph: tuple[tuple[float, ...], ...] = Field(min_length=1)
        every: float = Field(gt=0, allow_inf_nan=False)
        eta: float = Field(default=0.5, ge=0, allow_inf_nan=False)
        window: int = Field(default=3, ge=1)
        evaluate: tuple[str, ...] | None = Field(default=None, min_length=1)
        targets: tuple[str, ...] | None = Field(default=None, min_length=1)
        records: int = Field(default=64, ge=1)
        normalise: bool = False
        eta_schedule: bool = False
        damping: bool = False
        keep_isolated: bool = False

        @field_validator("every")
        @classmethod
        def _whole_or_share(cls, value: float) -> float:
            if value >= 1 and value != int(value):
                raise ValueError("must be a share below 1 or a whole number of steps")
            return value

    config: Config

    def evaluated(self, names: list[str]) -> list[str]:
        """``targets``, or ``evaluate``, or the sources."""
        return list(self.config.targets or self.config.evaluate or names)

    def graph(self, names: list[str]) -> SkillGraph:
        """The graph, cut to the targets."""
        whole = SkillGraph(self.config.graph, names, self.config.evaluate or names)
        return whole if self.config.targets is None else whole.damped().columns(self.config.targets)

    def check(self, names: list[str], weights: list[float] | None) -> None:
        """ValueError where graph and names do not fit."""
        self.sampler(names, weights or [1.0] * len(names))

    def shares(self, names: list[str], weights: list[float]) -> np.ndarray:
        """Those of the first round."""
        return self.sampler(names, weights).mixture

    def sampler(self, names: list[str], weights: list[float]) -> SkillItSampler:
        """The sampler in its first round."""
        config = self.config
        return SkillItSampler(
            self.graph(names),
            config.eta,
            config.window,
            prior=weights,
            normalise=config.normalise,
            eta_schedule=config.eta_schedule,
            damping=config.damping,
            keep_isolated=config.keep_isolated,
            reduce="sum" if config.targets is None else "mean",
        )
