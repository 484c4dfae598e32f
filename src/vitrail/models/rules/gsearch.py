"""Visual tokens leave layer by layer, by a schedule (G-Search, Zhao et al. 2024, arXiv 2412.00556).

Layer l keeps the ``ceil(r_l · N)`` visual tokens that the words behind the pictures attended to most in layer l − 1,
on average over words and heads; N is how many the row had. Words stay, and so do the order and the positions of what is
kept. Who left is gone for all later layers, so r may never rise, and r_0 is 1.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from vitrail.models.rules.keeping import drop_at
from vitrail.models.rules.rule import Rule, Seen

Ranking = Literal["text", "last", "first_layer", "random"]


def keep_scheduled(rates: Sequence[float], ranking: Ranking = "text") -> Rule | None:
    """The rule that keeps the share ``rates[l]`` of each row's visual tokens in layer ``l``; None if all are kept.

    ``ranking``: by the attention of the words behind the pictures (``text``), of the row's ``last`` token, of the words
    in the first layer only (``first_layer``), or at ``random`` (drawn by a token's place; both to compare with).
    ValueError for rates that are no such schedule.
    """
    checked_rates(rates)
    drops = [
        _drop(layer, rate, ranking)
        for layer, (before, rate) in enumerate(itertools.pairwise(rates), 1)
        if rate < before
    ]
    return functools.reduce(operator.and_, drops) if drops else None


def checked_rates(rates: Sequence[float]) -> None:
    """ValueError unless ``rates`` begin at 1, never rise, and lie between 0 and 1."""
    if not len(rates):
        raise ValueError("rates is empty; give one a layer")
    for layer, rate in enumerate(rates):
        if not 0 <= rate <= 1:
            raise ValueError(f"rates[{layer}] is {rate}; give shares from 0 to 1")
    if rates[0] != 1:
        raise ValueError(
            f"rates[0] is {rates[0]}; the first layer has nothing to rank tokens by, so it keeps all: 1"
        )
    for layer, (before, rate) in enumerate(itertools.pairwise(rates), 1):
        if rate > before:
            raise ValueError(
                f"rates[{layer}] is {rate} and rates[{layer - 1}] is {before}; tokens that left cannot come back, so "
                "rates may not rise"
            )


def _drop(layer: int, rate: float, ranking: Ranking) -> Rule:
    looked = 0 if ranking == "first_layer" else layer - 1
    name = f"keep_scheduled({layer}: {rate:g})"
    if ranking == "random":
        return drop_at(layer, _choice(rate, _drawn), name=name)
    if ranking == "last":
        return drop_at(
            layer, _choice(rate, lambda seen: seen.scores[looked].mean(1)), scores_of=(looked,), name=name
        )
    value = lambda seen: seen.text_scores[looked].mean(1)  # noqa: E731
    return drop_at(layer, _choice(rate, value), text_scores_of=(looked,), name=name)


def _choice(rate: float, value: Callable[[Seen], Tensor]) -> Callable[[Seen], Bool[Tensor, "batch tokens"]]:
    def keep(seen: Seen) -> Bool[Tensor, "batch tokens"]:
        visual = seen.layout.visual & seen.layout.droppable
        left = visual & seen.alive
        wanted = torch.ceil(visual.sum(-1) * rate - 1e-9).long()
        importance = torch.where(left, value(seen).to(torch.float32), -torch.inf)
        rank = importance.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return ~visual | (left & (rank < wanted[:, None]))

    return keep


def _drawn(seen: Seen) -> Tensor:
    """The same for a token in every layer and every batch: by its place among the visual tokens of its row."""
    place = seen.layout.visual.long().cumsum(-1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(int(place.max()) + 1, generator=generator)
    return drawn.to(place.device)[place]
