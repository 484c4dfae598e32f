"""Silent tokens: attention is computed for the tokens that ask, and for no others.

The layer's own code runs, so this holds for every family that attends through transformers' interface: its norms,
rotary positions, shared heads and caches are its own. Hooks hand only the asking tokens to ``q_proj`` (and to
``o_proj`` and the feed-forward network, where nothing of the silent ones is used), and the attention function computes
only their rows. A projection that is fused with others is computed for all tokens; results are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitrail.models.rules.rule import KEYWORD, Silent

_ROWS: ContextVar[Rows | None] = ContextVar("vitrail_asking", default=None)
"""The asking tokens of the layer that runs in this thread, from its attention to its feed-forward network."""

_OUT = ("o_proj", "out_proj", "dense")
_FEED_FORWARD = ("mlp", "feed_forward", "block_sparse_moe")


class Rows(NamedTuple):
    """The tokens that ask: their places ``asking`` ``(batch, asking)``, −1 where a row has fewer.

    ``flat`` are the same places, counted through all rows.
    ``real`` says, flat, which entries of ``asking`` are tokens; ``offset`` is where the tokens that arrive begin in the
    cache.
    """

    silent: Silent
    ask: Bool[Tensor, "batch tokens"]
    asking: Int[Tensor, "batch asking"]
    flat: Int[Tensor, "total"]
    real: Int[Tensor, "total"] | None
    offset: int

    @classmethod
    def of(cls, silent: Silent, ask: Bool[Tensor, "batch tokens"], offset: int) -> Rows:
        """From a mask of the tokens that ask."""
        counts = ask.sum(-1)
        most = int(counts.max())
        tokens = torch.arange(ask.shape[1], device=ask.device)
        index = torch.where(ask, tokens, -1).sort(-1).values[:, ask.shape[1] - most :]
        flat = ask.flatten().nonzero()[:, 0]
        real = None if bool((counts == most).all()) else (index >= 0).flatten().nonzero()[:, 0]
        return cls(silent, ask, index, flat, real, offset)

    def take(self, values: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "total dim"]:
        """The values of the tokens that ask, row after row."""
        return values.flatten(0, 1).index_select(0, self.flat)

    def put(self, asking: Tensor, others: Tensor | None = None) -> Tensor:
        """``(total, …)`` back at their places, ``(batch, tokens, …)``; elsewhere ``others``, or zero."""
        batch, tokens = self.ask.shape
        if others is None:
            others = asking.new_zeros(batch, tokens, *asking.shape[1:])
        whole = others.flatten(0, 1).index_copy(0, self.flat, asking.to(others.dtype))
        return whole.view(batch, tokens, *asking.shape[1:])


def attend(
    stock: Callable[..., Any], rows: Rows, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention ``(batch, tokens, heads, dim)`` in which only the asking tokens have queries."""
    batch, heads, tokens, _ = query.shape
    keys = key.shape[2]
    index = rows.asking.clamp(min=0)
    own = None
    if rows.silent.own_value:
        begin = rows.offset if keys >= rows.offset + tokens else keys - tokens
        own = value[:, :, begin : begin + tokens].transpose(1, 2)
        own = own.repeat_interleave(heads // value.shape[1], dim=2)
    if not index.shape[1]:
        none = query.new_zeros(0, heads, value.shape[-1])
        return rows.put(none, own), None
    asked = query.gather(2, index[:, None, :, None].expand(-1, heads, -1, query.shape[-1]))
    if mask is None:  # transformers leaves out a plain causal mask
        mask = torch.arange(keys, device=query.device) <= (index + keys - tokens)[:, None, :, None]
    else:
        mask = mask[..., :keys].expand(batch, -1, -1, -1)
        mask = mask.gather(2, index[:, None, :, None].expand(-1, mask.shape[1], -1, keys))
    found, _ = stock(asked, key, value, mask, **kwargs)
    found = found.flatten(0, 1)
    return rows.put(found if rows.real is None else found.index_select(0, rows.real), own), None


def install(decoder: Any) -> list[Any]:
    """Hooks that keep silent tokens out of what they do not use; the handles. Without a silent rule they do nothing."""
    handles: list[Any] = []
    for layer in decoder.layers:
        for attention in _attentions(layer):
            handles.append(attention.register_forward_pre_hook(_enter_attention, with_kwargs=True))
            handles += _only_asking(getattr(attention, "q_proj", None), _always)
            handles += _only_asking(_named(attention, _OUT), _without_value)
        if (forward := _named(layer, _FEED_FORWARD)) is not None:
            handles += _only_asking(forward, _without_feed_forward)
            handles.append(forward.register_forward_hook(_leave_feed_forward))
    return handles


def check(silent: Silent, decoder: Any) -> None:
    """ValueError if the decoder's layers hide what must be kept from silent tokens."""
    for number, layer in enumerate(decoder.layers):
        if silent.holds(number) and not silent.feed_forward and _named(layer, _FEED_FORWARD) is None:
            raise ValueError(
                f"{silent.name} keeps silent tokens out of the feed-forward network, but layer {number} "
                f"({type(layer).__name__}) has none of the names {', '.join(_FEED_FORWARD)}; use feed_forward=True"
            )


def _enter_attention(attention: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Here, not at the layer's entrance: gradient checkpointing may run a layer's forward again without its hooks."""
    run = kwargs.get(KEYWORD)
    _ROWS.set(None if run is None else run.asking(attention.layer_idx))


def _leave_feed_forward(module: nn.Module, args: tuple, output: Any) -> None:
    _ROWS.set(None)


def _only_asking(module: nn.Module | None, wanted: Callable[[Silent], bool]) -> list[Any]:
    if module is None:
        return []
    return [
        module.register_forward_pre_hook(functools.partial(_take, wanted)),
        module.register_forward_hook(functools.partial(_put, wanted)),
    ]


def _take(wanted: Callable[[Silent], bool], module: nn.Module, args: tuple) -> tuple | None:
    rows = _ROWS.get()
    if rows is None or not wanted(rows.silent) or not args:
        return None
    return (rows.take(args[0])[None], *args[1:])


def _put(wanted: Callable[[Silent], bool], module: nn.Module, args: tuple, output: Any) -> Any:
    rows = _ROWS.get()
    if rows is None or not wanted(rows.silent) or not args:
        return None
    if isinstance(output, tuple):
        return (rows.put(output[0].flatten(0, -2)), *output[1:])
    return rows.put(output.flatten(0, -2))


def _always(silent: Silent) -> bool:
    return True


def _without_value(silent: Silent) -> bool:
    return not silent.own_value


def _without_feed_forward(silent: Silent) -> bool:
    return not silent.feed_forward


def _attentions(layer: nn.Module) -> list[nn.Module]:
    return [
        module for module in layer.modules() if hasattr(module, "layer_idx") and hasattr(module, "q_proj")
    ]


def _named(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    return next(
        (found for name in names if isinstance(found := getattr(module, name, None), nn.Module)), None
    )
