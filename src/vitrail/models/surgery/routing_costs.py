"""What routed layers save: operations of the decoder's layers by how many tokens each keeps, and who was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vitrail.models.logits import unwrapped
from vitrail.models.surgery.routing import Pass, Routers


def layer_flops(layer: Any, kept: int, width: int) -> int:
    """Operations of one decoder layer over ``kept`` tokens: two for each weight of its linear layers and token, and
    those of attention over the causal half, ``width`` being heads × head dimension.
    """
    weights = sum(
        one.in_features * one.out_features  # type: ignore[operator]
        for one in layer.modules()
        if hasattr(one, "in_features") and hasattr(one, "out_features")
    )
    return 2 * weights * kept + 2 * kept * (kept + 1) * width


def routed_flops(model: nn.Module, tokens: int, kept: Mapping[int, int] | None = None) -> int:
    """Operations of all decoder layers for one row of ``tokens``; ``kept``: tokens that run in each routed layer.

    Routers are counted (in every layer that ``kept`` names); norms, rotary embeddings and softmax are not.
    """
    inner: Any = unwrapped(model)
    decoder = inner.get_decoder()
    config = decoder.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    kept = kept or {}
    total = 0
    for index, layer in enumerate(decoder.layers):
        total += layer_flops(layer, kept.get(index, tokens), width)
        if index in kept:
            total += 2 * 2 * config.hidden_size * tokens
    return total


def kept_in_training(routers: Routers, tokens: int, droppable: int) -> dict[int, int]:
    """How many of a row's ``tokens``, ``droppable`` of them, run in each routed layer: ``⌈L − c·M⌉``."""
    most = -int(-(tokens - routers.skip * droppable - 1e-6) // 1)
    return dict.fromkeys(routers.layers, most)


@dataclass(frozen=True)
class Kept:
    """Shares of tokens that a layer kept: of droppable ones, and of the others. NaN where there were none."""

    layer: int
    droppable: float
    others: float


def statistics(passes: Sequence[Pass]) -> list[Kept]:
    """Who was kept, by layer, over several forwards. ValueError if there is none, or if tokens have no kind."""
    if not passes or any(one.droppable is None for one in passes):
        raise ValueError("no forward was recorded in which it is known which tokens may skip")
    found = []
    for layer in passes[0].kept:
        counts = {True: [0, 0], False: [0, 0]}
        for run in passes:
            mask, droppable = run.mask(layer), run.droppable & run.present  # type: ignore[operator]
            for kind, chosen in ((True, droppable), (False, run.present & ~droppable)):
                counts[kind][0] += int((mask & chosen).sum())
                counts[kind][1] += int(chosen.sum())
        shares = {kind: kept / every if every else float("nan") for kind, (kept, every) in counts.items()}
        found.append(Kept(layer, shares[True], shares[False]))
    return found
