"""Tokens leave between layers, by hooks on the decoder's layers.

At the entrance of a layer tokens are taken out of the hidden states; from there on positions, masks and cache follow.
Behind the last layer the states are put back in their places, zero where a token left, so that logits, labels and
``logits_to_keep`` keep their meaning.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from vitrail.models.rules.call import Call, Pass
from vitrail.models.rules.held import HeldLayer
from vitrail.models.rules.lowering import scattered
from vitrail.models.rules.rule import KEYWORD, Drop, Seen


def cut_layers(call: Call) -> list[int]:
    """The layers whose cache does not hold every token."""
    first = min((drop.layer for drop in call.rule.drops), default=call.target.num_layers)
    layers = range(call.target.num_layers)
    return [one for one in layers if one >= first or any(hold.holds(one) for hold in call.rule.held)]


def prepare_cache(call: Call, cache: Any, wanted: bool) -> Any:
    """A cache whose cut layers know what they hold. ValueError for one that cannot be cut."""
    layers = cut_layers(call)
    if not layers or (cache is None and not wanted):
        return cache
    if cache is None:
        cache = DynamicCache(config=call.target.decoder.config)
    if not isinstance(cache, DynamicCache):
        kind = f" of type {type(cache).__name__}" if isinstance(cache, Cache) else ""
        raise ValueError(
            f"{call.rule.name} drops tokens or cache entries, which needs a DynamicCache; this call has a cache{kind}. "
            "Leave cache_implementation and the cache unset"
        )
    while len(cache.layers) <= layers[-1]:
        cache.layers.append(DynamicLayer())
    for index in layers:
        layer = cache.layers[index]
        if type(layer) is DynamicLayer:
            cache.layers[index] = HeldLayer.of(layer)
        elif not isinstance(layer, HeldLayer):
            raise ValueError(f"{call.rule.name} cuts the cache of layer {index}, a {type(layer).__name__}")
    return cache


def enter(index: int, layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict] | None:
    """Forward pre-hook of layer ``index``: drop, and let everything about the tokens follow."""
    run: Pass | None = kwargs.get(KEYWORD)
    if run is None:
        return None
    hidden = args[0] if args else kwargs["hidden_states"]
    drop = next((one for one in run.call.rule.drops if one.layer == index), None)
    if drop is not None and run.begin == 0:
        hidden = _drop(run, drop, hidden)
    kept = run.alive(index)
    columns = kept
    held = run.cache.layers[index] if run.cache is not None and len(run.cache.layers) > index else None
    if isinstance(held, HeldLayer):
        arriving = kept if kept is not None else torch.arange(run.begin, run.end, device=hidden.device)
        columns = held.arrive(arriving, run.end, _hold(run, index))
    if kept is not None:
        kwargs["position_embeddings"] = tuple(
            _rows(one.expand(run.batch, -1, -1), kept) for one in kwargs["position_embeddings"]
        )
        if kwargs.get("position_ids") is not None:
            kwargs["position_ids"] = kwargs["position_ids"].expand(run.batch, -1).gather(1, kept.clamp(min=0))
    if columns is not None and kwargs.get("attention_mask") is not None:
        kwargs["attention_mask"] = _taken(kwargs["attention_mask"], kept, columns)
    if args:
        return (hidden, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": hidden}


def leave(layer: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    """Forward hook of the last layer: put the states that are left back in their places."""
    run: Pass | None = kwargs.get(KEYWORD)
    kept = run.alive(run.call.target.num_layers) if run is not None else None
    if run is None or kept is None:
        return None
    if isinstance(output, tuple):
        return (scattered(output[0], kept, run.end), *output[1:])
    return scattered(output, kept, run.end)


def _drop(run: Pass, drop: Drop, hidden: Tensor) -> Tensor:
    """Choose once a forward (gradient checkpointing enters twice), and take the others out of the states."""
    before = run.alive(drop.layer - 1)
    if drop.layer not in run.kept:
        run.kept[drop.layer] = _indices(_chosen(run, drop, hidden, before))
    kept = run.kept[drop.layer]
    if before is None:
        return _rows(hidden, kept)
    place = torch.searchsorted(before.contiguous(), kept.clamp(min=0))
    return _rows(hidden, place.clamp(max=before.shape[1] - 1))


def _chosen(run: Pass, drop: Drop, hidden: Tensor, before: Tensor | None) -> Bool[Tensor, "batch tokens"]:
    call, layout = run.call, run.layout
    tokens = call.tokens
    there = layout.present[:, : run.end]
    if before is not None:
        marks = scattered(torch.ones_like(before, dtype=torch.float)[..., None], before, run.end)
        there = marks[..., 0].bool()
    if (
        drop.layer in call.chosen and run.end > tokens
    ):  # generating without a cache: the prompt's choice stands
        keep = call.chosen[drop.layer]
    else:
        at = torch.arange(tokens, device=hidden.device)
        states = hidden.detach() if before is None else scattered(hidden.detach(), before, run.end)
        seen = Seen(
            layout=call.prompt(run.batch).to(hidden.device),
            alive=there[:, :tokens],
            hidden=states[:, :tokens],
            scores={layer: value[..., at] for layer, value in run.scores.items()},
            text_scores={layer: value[..., at] for layer, value in run.text_scores.items()},
        )
        keep = drop.keep(seen)
        _check(call, drop, seen, keep)
        call.chosen[drop.layer] = keep
    keep = torch.nn.functional.pad(keep, (0, run.end - tokens), value=True) & there
    call.kept = keep[:, :tokens]
    return keep


def _check(call: Call, drop: Drop, seen: Seen, keep: Any) -> None:
    shape = tuple(seen.layout.shape)
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool or tuple(keep.shape) != shape:
        found = (
            f"{keep.dtype} {tuple(keep.shape)}" if isinstance(keep, Tensor) else f"a {type(keep).__name__}"
        )
        raise ValueError(f"{drop.name}: keep(seen) must return bool (batch, tokens) = {shape}, got {found}")
    lost = seen.alive & ~keep & ~seen.layout.droppable
    if bool(lost.any()):
        row, token = lost.nonzero()[0].tolist()
        raise ValueError(
            f"{drop.name} would drop token {token} of row {row}, which layout.droppable does not allow; "
            "keep it, or mark it droppable"
        )


def _indices(keep: Bool[Tensor, "batch tokens"]) -> Int[Tensor, "batch kept"]:
    """The indices of True, sorted; rows with fewer have −1 in front."""
    counts = keep.sum(-1)
    most = int(counts.max())
    tokens = torch.arange(keep.shape[1], device=keep.device)
    return torch.where(keep, tokens, -1).sort(-1).values[:, keep.shape[1] - most :]


def _hold(run: Pass, layer: int) -> Bool[Tensor, "seen"] | None:
    holds = [one for one in run.call.rule.held if one.holds(layer)]
    if not holds:
        return None
    kept = [one.keep(run.layout, run.end) for one in holds]
    return torch.stack(kept).all(0)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """``(batch, tokens, dim)`` → ``(batch, kept, dim)``; an empty place gets some token, which nobody sees."""
    return values.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, values.shape[-1]))


def _taken(mask: Tensor, rows: Tensor | None, columns: Tensor) -> Tensor:
    """The rows and columns of a mask ``(batch, channels, queries, keys)`` for tokens; empty columns are masked."""
    closed = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    if columns.ndim == 1:
        mask = mask[..., columns]
    else:
        mask = mask.expand(len(columns), -1, -1, -1)
        at = columns.clamp(min=0)[:, None, None].expand(-1, mask.shape[1], mask.shape[2], -1)
        mask = mask.gather(-1, at).masked_fill((columns < 0)[:, None, None], closed)
    if rows is None:
        return mask
    at = rows.clamp(min=0)[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3])
    return mask.gather(2, at)
