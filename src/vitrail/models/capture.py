"""Attention of chosen layers as the model computes it, read while it runs, whatever it attends by.

Nothing has to be loaded with eager attention: only the layers that are read compute their weights, and with
``replace`` those weights are part of the graph, so that derivatives with respect to them exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from vitrail.models.rules import lowering
from vitrail.models.rules.target import Target
from vitrail.models.rules.watching import WATCH, Watch


def checked_layers(model: nn.Module, layers: Iterable[int]) -> tuple[int, ...]:
    """``layers`` in order. ValueError for one that the decoder does not have, or none."""
    target, chosen = Target.of(model), tuple(dict.fromkeys(layers))
    beyond = [layer for layer in chosen if not 0 <= layer < target.num_layers]
    if beyond or not chosen:
        named = f"layer {beyond[0]}" if beyond else "no layer"
        raise ValueError(f"{named} was named; {target.name} has the layers 0 to {target.num_layers - 1}")
    return chosen


@contextmanager
def attention_rows(
    model: nn.Module, layers: Iterable[int], rows: Int[Tensor, "batch rows"] | None = None
) -> Iterator[dict[int, Tensor]]:
    """Inside, each forward fills in attention of some queries, ``(batch, heads, rows, tokens)`` by layer, in float32.

    ``rows``: the places of the queries (default: the last one, of rows that are not padded behind). ValueError for a
    layer that is not there.
    """
    chosen, found = frozenset(checked_layers(model, layers)), dict[int, Tensor]()

    def watch(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, kwargs: dict) -> None:
        if module.layer_idx in chosen:
            last = torch.full((len(query), 1), query.shape[2] - 1, device=query.device)
            with torch.no_grad():
                found[module.layer_idx] = lowering.attention_shares(
                    query, key, mask, last if rows is None else rows, kwargs
                )

    with _watching(model, watch):
        yield found


@contextmanager
def attention_in_graph(model: nn.Module, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """Inside, each forward fills in the attention weights ``(batch, heads, queries, keys)`` that it used, by layer.

    The graph begins at the first of ``layers``: what lies below keeps nothing for a derivative. Weights come from the
    model's own eager attention. ValueError for a layer that is not there.
    """
    chosen, found = checked_layers(model, layers), dict[int, Tensor]()

    def watch(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, kwargs: dict) -> Any:
        if module.layer_idx not in chosen:
            return None
        output, weights = lowering._eager(module, query, key, value, _added(mask, query, key), **kwargs)
        found[module.layer_idx] = weights
        return output, weights

    def begin(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
        hidden = args[0] if args else kwargs.pop("hidden_states")
        return (hidden.detach().requires_grad_(True), *args[1:]), kwargs

    first: Any = Target.of(model).decoder.layers[min(chosen)]
    handle = first.register_forward_pre_hook(begin, with_kwargs=True)
    try:
        with _watching(model, watch):
            yield found
    finally:
        handle.remove()


@contextmanager
def _watching(model: nn.Module, watch: Watch) -> Iterator[None]:
    """The decoder attends by ours inside, where ``watch`` looks on."""
    target = Target.of(model)
    ours = lowering.NAMES.get(target.implementation, target.implementation)
    if ours not in lowering.NAMES.values() or "flex" in ours:
        raise ValueError(
            f"{target.name} attends by {target.implementation!r}, which shows no attention; "
            "load the model with attn_implementation='sdpa' or 'eager'"
        )
    before = [(config, config._attn_implementation) for config in target.configs]
    token = WATCH.set(watch)
    try:
        for config, _ in before:
            config._attn_implementation = ours
        yield
    finally:
        WATCH.reset(token)
        for config, implementation in before:
            config._attn_implementation = implementation


def _added(mask: Any, query: Tensor, key: Tensor) -> Tensor:
    """A mask that is added to scores, ``(batch, 1, queries, keys)``."""
    queries, keys = query.shape[2], key.shape[2]
    if mask is None:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)[
            None, None
        ]
    if mask.dtype != torch.bool:
        return mask
    zero = torch.zeros((), dtype=query.dtype, device=query.device)
    return torch.where(mask, zero, torch.finfo(query.dtype).min)
