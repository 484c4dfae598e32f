"""Schedules of visual tokens over the layers of a decoder, and what they cost (arXiv 2412.00556).

A layer over n tokens costs, in multiply-adds, ``c(n) = 4nd² + 2n²d + 3ndh`` (d: hidden size, h: feed-forward's); a
schedule r over N visual and N_t other tokens ``C(r) = Σ c(N_t + r_l N)``, and its budget is ``C(r) / C(1)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.models.rules.gsearch import checked_rates
from vitrail.storage.atomic import write_json


@dataclass(frozen=True)
class Shape:
    """What costs depend on: the decoder's sizes, and how many visual and other tokens a prompt has."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    visual: int
    other: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "other" else 1):
                raise ValueError(f"{name} is {value}; give a count above 0")

    @classmethod
    def of(cls, config: Any, visual: int, other: int) -> Shape:
        """Of a model's configuration (that of its language model is looked up in it)."""
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        return cls(text.hidden_size, text.intermediate_size, text.num_hidden_layers, visual, other)

    def layer(self, tokens: float) -> float:
        """Multiply-adds of one layer over so many tokens."""
        d, h = self.hidden_size, self.intermediate_size
        return 4 * tokens * d**2 + 2 * tokens**2 * d + 3 * tokens * d * h


@dataclass(frozen=True)
class KeepSchedule:
    """The share of visual tokens that each layer keeps. ValueError unless it begins at 1 and never rises."""

    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(float(rate) for rate in self.rates))
        checked_rates(self.rates)

    @property
    def mean(self) -> float:
        """The mean share over the layers."""
        return sum(self.rates) / len(self.rates)

    def cost(self, shape: Shape) -> float:
        """Multiply-adds of a prompt. ValueError if the schedule is for another number of layers."""
        self.require_depth(shape.num_hidden_layers)
        return sum(shape.layer(shape.other + rate * shape.visual) for rate in self.rates)

    def budget(self, shape: Shape) -> float:
        """Its cost as a share of that of keeping all."""
        whole = shape.num_hidden_layers * shape.layer(shape.other + shape.visual)
        return self.cost(shape) / whole

    def require_depth(self, depth: int) -> None:
        """ValueError if the schedule is not for so many layers."""
        if len(self.rates) != depth:
            raise ValueError(
                f"the schedule has {len(self.rates)} rates, and the model {depth} layers; give one a layer"
            )

    def save(self, path: Path | str) -> None:
        """Write it as JSON, atomically."""
        write_json(Path(path), {"rates": list(self.rates)})

    @classmethod
    def load(cls, path: Path | str) -> KeepSchedule:
        """Read one. ValueError for a file that holds none."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(f"schedule {path} cannot be read: {error}") from None
        rates = found.get("rates") if isinstance(found, dict) else None
        if not isinstance(rates, list) or not all(isinstance(rate, (int, float)) for rate in rates):
            raise ValueError(f'schedule {path} must hold {{"rates": [1, …]}}, one number a layer')
        return cls(tuple(rates))


def everything(depth: int) -> KeepSchedule:
    """Nothing leaves."""
    return KeepSchedule((1.0,) * depth)


def one_cut(depth: int, layer: int, rate: float) -> KeepSchedule:
    """One cut at the entrance of ``layer``, as FastV makes it."""
    return staged(depth, {layer: rate})


def staged(depth: int, cuts: dict[int, float]) -> KeepSchedule:
    """Cuts at the entrances of some layers, each to a share of all. ValueError for a layer that is not there."""
    wrong = [layer for layer in cuts if not 1 <= layer < depth]
    if wrong:
        raise ValueError(f"a cut is at layer {wrong[0]}; give layers from 1 to {depth - 1}")
    rates, now = [], 1.0
    for layer in range(depth):
        now = cuts.get(layer, now)
        rates.append(now)
    return KeepSchedule(tuple(rates))


def p_sigmoid(steepness: float, midpoint: float, budget: float, shape: Shape) -> KeepSchedule:
    """``r_l = min(1, λ · sigmoid(−k (l/(L−1) − b)))`` for l ≥ 1, with λ such that the budget is met.

    ``steepness`` k ≥ 0 (0: one share for all layers), ``midpoint`` b from 0 to 1. ValueError for a budget that is not
    above that of words alone, or above 1.
    """
    if steepness < 0 or not 0 <= midpoint <= 1:
        raise ValueError(f"k is {steepness} and b is {midpoint}; give k of 0 or more, and b from 0 to 1")
    depth = shape.num_hidden_layers
    falling = [_sigmoid(-steepness * (layer / max(depth - 1, 1) - midpoint)) for layer in range(depth)]

    def scaled(factor: float) -> KeepSchedule:
        return KeepSchedule((1.0, *(min(1.0, factor * one) for one in falling[1:])))

    least = scaled(0.0).budget(shape)
    if not least < budget <= 1:
        raise ValueError(
            f"budget is {budget}; words and the first layer alone cost {least:.3f}, so give more than that, up to 1"
        )
    low, high = 0.0, 1.0
    while scaled(high).budget(shape) < budget and scaled(high).rates[-1] < 1:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if scaled(middle).budget(shape) < budget else (low, middle)
    return scaled(high)


def constant(budget: float, shape: Shape) -> KeepSchedule:
    """One share for all layers but the first, at a budget."""
    return p_sigmoid(0.0, 0.5, budget, shape)


def cut_at_budget(layer: int, budget: float, shape: Shape) -> KeepSchedule:
    """One cut at ``layer`` that meets a budget. ValueError where dropping all there is not enough."""
    depth = shape.num_hidden_layers
    low, high = 0.0, 1.0
    if one_cut(depth, layer, 0.0).budget(shape) > budget:
        raise ValueError(
            f"budget is {budget}; a cut at layer {layer} costs more even if no visual token is left"
        )
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if one_cut(depth, layer, middle).budget(shape) <= budget else (low, middle)
    return one_cut(depth, layer, low)


def rates_of(schedule: KeepSchedule | Sequence[float]) -> tuple[float, ...]:
    """Its rates."""
    return schedule.rates if isinstance(schedule, KeepSchedule) else tuple(schedule)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
