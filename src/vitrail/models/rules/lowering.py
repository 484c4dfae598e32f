"""Rules → masks of transformers: one registered name for each way to attend.

``vitrail_sdpa``, ``vitrail_eager`` and ``vitrail_flex`` are registered both as attention and as mask function (an
attention name without a mask function would silently lose the padding). Without a rule they are the stock ones, bit
for bit.

All groups of layers with equal masks lie side by side in the mask's head dimension; the attention function takes its
layer's part. So a mask is plain data, whoever carries it to the layers and whenever they run. A block mask of
FlexAttention cannot be cut; there a tuple travels.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, flex_attention_mask, sdpa_mask
from transformers.masking_utils import eager_mask as stock_eager_mask
from transformers.modeling_utils import AttentionInterface

from vitrail.models.rules import asking
from vitrail.models.rules.call import Call, Pass, call_of, here
from vitrail.models.rules.rule import KEYWORD, Leaf, Pairs, evaluate, leaves
from vitrail.models.rules.watching import WATCH

NAMES = {"sdpa": "vitrail_sdpa", "eager": "vitrail_eager", "flex_attention": "vitrail_flex"}
"""The stock way to attend → ours."""


class BlockMasks(tuple):
    """One block mask for each group of layers."""

    shape: tuple[int, ...] = (0, 0, 0, 0)
    """transformers tells a ready mask by its four dimensions."""


def _mask_function(stock: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def build(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(stock).bind_partial(*args, **kwargs).arguments
        given.update(given.pop("kwargs", {}))
        call = call_of(config=given.get("config"))
        if call is None:
            return stock(*args, **kwargs)
        if given.get("attention_mask") is not None:
            call.see_layout(None, given["attention_mask"], first=_is_zero(given.get("q_offset", 0)))
        if not call.shapes_mask:
            if call.rule.drops and given["batch_size"] > 1:  # rows may hold unequally many tokens
                kwargs["allow_is_causal_skip"] = False
            return stock(*args, **kwargs)
        if kind == "flex":
            return _block_masks(call, given)
        mask = _boolean(call, given)
        if kind == "eager":
            dtype = given.get("dtype", torch.float32)
            zero = torch.zeros((), dtype=dtype, device=mask.device)
            mask = torch.where(mask, zero, torch.finfo(dtype).min)
        call.made(mask)
        return mask

    return build


def _is_zero(offset: Any) -> bool:
    return int(offset) == 0


def _boolean(call: Call, given: dict[str, Any]) -> Tensor:
    """``(batch, channels, queries, keys)``: True where a query may see a key."""
    batch, device = given["batch_size"], torch.device(given.get("device", "cpu"))
    queries, keys = given["q_length"], given["kv_length"]
    q_offset, kv_offset = given.get("q_offset", 0), int(given.get("kv_offset", 0))
    own = sdpa_mask(
        **{name: value for name, value in given.items() if name not in ("attention_mask", "local_size")}
        | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    )
    assert own is not None
    layout = call.layout(batch, max(kv_offset + keys, int(q_offset) + queries), device)
    b = torch.arange(batch, device=device)[:, None, None, None]
    q = (torch.arange(queries, device=device) + q_offset)[None, None, :, None]
    k = (torch.arange(keys, device=device) + kv_offset)[None, None, None, :]
    pairs = _pairs(call, layout)
    padding = _padding(given.get("attention_mask"), kv_offset, keys)
    masks = []
    for layer, channels in zip(call.representatives, call.channels, strict=True):
        h = torch.arange(channels, device=device)[None, :, None, None]
        seen = {leaf: see(b, h, q, k) for leaf, see in pairs.items() if leaf.holds(layer)}
        mask = evaluate(call.rule.mask, layer, own, seen.__getitem__)
        for leaf in call.rule.isolation:
            mask = mask & seen[leaf]
        mask = mask if padding is None else mask & padding
        masks.append(mask.expand(batch, channels, queries, keys))
    return torch.cat(masks, dim=1)


def _pairs(call: Call, layout: Any) -> dict[Leaf, Pairs]:
    said = [*leaves(call.rule.mask), *call.rule.isolation]
    return {leaf: leaf.see(layout) for leaf in said if leaf.see is not None}


def _padding(mask: Tensor | None, offset: int, keys: int) -> Tensor | None:
    """``(batch, 1, 1, keys)``; a static cache has room behind the tokens, which is not there."""
    if mask is None:
        return None
    wide = torch.nn.functional.pad(mask.bool(), (0, max(offset + keys - mask.shape[-1], 0)))
    return wide[:, None, None, offset : offset + keys]


def _block_masks(call: Call, given: dict[str, Any]) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    batch, device = given["batch_size"], torch.device(given.get("device", "cpu"))
    queries, keys = given["q_length"], given["kv_length"]
    q_offset, kv_offset = given.get("q_offset", 0), int(given.get("kv_offset", 0))
    layout = call.layout(batch, max(kv_offset + keys, int(q_offset) + queries), device)
    pairs, own = _pairs(call, layout), given["mask_function"]
    padding = _padding(given.get("attention_mask"), 0, kv_offset + keys)
    padding = None if padding is None else padding[:, 0, 0]

    def of(layer: int) -> Callable[..., Tensor]:
        def see(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            q, k = q + q_offset, k + kv_offset
            mask = evaluate(call.rule.mask, layer, own(b, h, q, k), lambda leaf: pairs[leaf](b, h, q, k))
            for leaf in call.rule.isolation:
                mask = mask & pairs[leaf](b, h, q, k)
            return mask if padding is None else mask & padding[b, k]

        return see

    made = BlockMasks(
        create_block_mask(of(layer), batch, None if heads == 1 else heads, queries, keys, device=device)
        for layer, heads in zip(call.representatives, call.channels, strict=True)
    )
    for one in made:
        call.made(one)
    return made[0] if len(made) == 1 else made


def _attention(stock: Callable[..., Any]) -> Callable[..., Any]:
    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
    ) -> Any:
        run: Pass | None = kwargs.pop(KEYWORD, None)
        watch = WATCH.get()
        if run is None:
            if any(call.is_made(attention_mask) for call in here()):
                raise ValueError(
                    f"{type(module).__name__}: a model without a rule got a mask made under one. Two models share one "
                    "configuration object; build each from a copy of it"
                )
            found = None if watch is None else watch(module, query, key, value, attention_mask, kwargs)
            return stock(module, query, key, value, attention_mask, **kwargs) if found is None else found
        layer: int = module.layer_idx  # type: ignore[assignment]
        run.saw.add(layer)
        mask = _of_layer(run.call, attention_mask, layer)
        if layer in run.wanted:
            run.scores[layer] = _last_scores(run, layer, query, key, mask, kwargs)
        if layer in run.text_wanted:
            run.text_scores[layer] = _text_scores(run, layer, query, key, mask, kwargs)
        rows = run.asking(layer)
        if watch is not None:
            found = watch(module, query, key, value, mask, kwargs)
            if found is not None:
                if rows is not None:
                    raise ValueError(
                        f"{run.call.rule.name} silences tokens, so this layer's attention cannot be replaced"
                    )
                return found
        if rows is not None:
            attending = functools.partial(stock, module)
            return asking.attend(attending, rows, query, key, value, mask, **kwargs)
        return stock(module, query, key, value, mask, **kwargs)

    return attend


def _of_layer(call: Call, mask: Any, layer: int) -> Any:
    if not call.shapes_mask or mask is None or len(call.channels) == 1:
        return mask
    if isinstance(mask, BlockMasks):
        return mask[call.group[layer]]
    return mask[:, call.channels_of(layer)]


@torch.no_grad()
def _last_scores(run: Pass, layer: int, query: Tensor, key: Tensor, mask: Any, kwargs: Any) -> Tensor:
    """How much each row's last token attends to each token: ``(batch, heads, tokens)``, sums to 1."""
    last = run.last(layer, query.device)[:, None]
    return _in_place(run, layer, attention_shares(query, key, mask, last, kwargs)[:, :, 0])


@torch.no_grad()
def _text_scores(run: Pass, layer: int, query: Tensor, key: Tensor, mask: Any, kwargs: Any) -> Tensor:
    """How much each row's words behind its last visual token attend to each token, on average."""
    asks = run.text_rows(layer)
    counts = asks.sum(-1)
    most = max(int(counts.max()), 1)
    places = torch.arange(asks.shape[1], device=asks.device)
    rows = torch.where(asks, places, -1).sort(-1).values[:, asks.shape[1] - most :]
    shares = attention_shares(query, key, mask, rows.clamp(min=0), kwargs)
    shares = torch.where((rows >= 0)[:, None, :, None], shares, 0.0)
    return _in_place(run, layer, shares.sum(2) / counts.clamp(min=1)[:, None, None])


def attention_shares(query: Tensor, key: Tensor, mask: Any, rows: Tensor, kwargs: Any) -> Tensor:
    """Softmax attention of some queries, ``(batch, heads, rows, keys)``, from what an attention function is given.

    ``rows`` ``(batch, rows)`` are the places of the queries. Computed in float32; a mask of None is causal.
    """
    batch, heads, queries, dim = query.shape
    each = torch.arange(batch, device=query.device)[:, None]
    asking = query.transpose(1, 2)[each, rows].transpose(1, 2).float()
    keys = key.float().repeat_interleave(heads // key.shape[1], dim=1)
    scores = asking @ keys.transpose(-1, -2) * (kwargs.get("scaling") or dim**-0.5)
    if kwargs.get("softcap"):
        scores = torch.tanh(scores / kwargs["softcap"]) * kwargs["softcap"]
    count = scores.shape[-1]
    if isinstance(mask, Tensor):
        own = mask.expand(batch, -1, -1, -1).transpose(1, 2)[each, rows].transpose(1, 2)[..., :count]
    else:
        own = (rows[..., None] + count - queries >= torch.arange(count, device=query.device))[:, None]
    scores = scores.masked_fill(~own, -torch.inf) if own.dtype == torch.bool else scores + own
    return scores.softmax(-1)


def _in_place(run: Pass, layer: int, shares: Tensor) -> Tensor:
    """``(batch, heads, keys)`` of a layer at the places of all tokens, zero where one has left."""
    kept = run.alive(layer)
    if kept is None:
        return shares[..., : run.end]
    return scattered(shares.transpose(1, 2), kept, run.end).transpose(1, 2)


def scattered(values: Tensor, kept: Tensor, tokens: int) -> Tensor:
    """``(batch, kept, dim)`` at the places they came from, ``(batch, tokens, dim)``; zero elsewhere."""
    places = torch.where(kept < 0, tokens, kept)[..., None].expand(-1, -1, values.shape[-1])
    room = values.new_zeros(values.shape[0], tokens + 1, values.shape[-1])
    return room.scatter(1, places, values)[:, :tokens]


def _eager(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
    """The model's own eager attention, with whatever it does to its scores."""
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if own is None:
        raise ValueError(
            f"{type(module).__module__} has no eager_attention_forward; load the model with attn_implementation='sdpa'"
        )
    return own(module, query, key, value, mask, **kwargs)


def register() -> None:
    """Make the three names known to transformers."""
    attention: dict[str, Callable[..., Any]] = {
        "sdpa": sdpa_attention_forward,
        "eager": _eager,
        "flex_attention": flex_attention_forward,
    }
    masks: dict[str, Callable[..., Any]] = {
        "sdpa": sdpa_mask,
        "eager": stock_eager_mask,
        "flex_attention": flex_attention_mask,
    }
    for stock, name in NAMES.items():
        AttentionInterface.register(name, _attention(attention[stock]))
        AttentionMaskInterface.register(name, _mask_function(masks[stock], name.removeprefix("vitrail_")))
