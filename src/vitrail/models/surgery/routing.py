"""Mixture of depths by hooks: in some decoder layers only routed tokens run; the others pass by unchanged.

γ-MoD (Luo et al. 2024, arXiv 2410.13859). In a routed layer, with ``p_i = softmax(W · norm_in(x_i))[1]``:

    y = x + Attn(norm(x));   y = y + p · FFN(norm2(y))      for the tokens that are kept,   y = x   for the others.

*Training*: of a row with L tokens, M of them droppable, ``k = ⌈L − c·M⌉`` are kept: all that are not droppable, and
the droppable ones of highest p. *Inference*: a token is kept when ``p > threshold``, one for prompts and one for single
tokens behind a cache; the layer's cache holds kept tokens only, so caches are of different lengths.

Kept tokens really leave the row (gather, scatter), so the operations fall. All state belongs to the forward call and
to its cache (:class:`Pass` travels in the layers' keywords); the model gets routers and hooks, no new module around a
layer, so the names of its weights stay. Deviation: the paper counts M as the block of the picture in front of the
text; here droppable tokens may stand anywhere, and rows without any keep everything. A call without a cache cannot
tell an answer from its prompt: every token of it is judged by the prompt's threshold.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from vitrail.models.caching import LIBRARY_NAME, NAMES, cache_argument
from vitrail.models.layout import Layout
from vitrail.models.rules.call import call_of
from vitrail.models.rules.dropping import _indices, _rows, _taken
from vitrail.models.rules.held import HeldLayer

KEYWORD = "vitrail_routing"
"""The keyword in which a call's state travels to the layers."""

Kind = Literal["shared", "per_layer", "modality"]
_ATTENDS = ("sdpa", "eager", "vitrail_sdpa", "vitrail_eager")


class Routers(nn.Module):
    """The routers of the routed ``layers``: one for all (``shared``), one each, or one for words and one for pictures.

    ``skip`` is the share c of droppable tokens that skip in training; ``thresholds`` are for prompts and for single
    tokens; ``reindex`` numbers kept tokens anew, 0, 1, 2 …, in each layer.
    """

    def __init__(
        self,
        hidden_size: int,
        layers: tuple[int, ...],
        *,
        kind: Kind = "shared",
        skip: float = 0.5,
        thresholds: tuple[float, float] = (0.005, 0.5),
        reindex: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        names = {
            "shared": ["shared"],
            "per_layer": [f"layer_{layer}" for layer in layers],
            "modality": ["text", "visual"],
        }[kind]
        self.layers, self.kind, self.skip, self.thresholds = layers, kind, skip, thresholds
        self.reindex = reindex
        made = {name: nn.Linear(hidden_size, 2, bias=False, device=device, dtype=dtype) for name in names}
        self.router = nn.ModuleDict(made)

    def forward(
        self,
        states: Float[Tensor, "batch tokens hidden"],
        layer: int,
        visual: Bool[Tensor, "batch tokens"] | None,
    ) -> Float[Tensor, "batch tokens 2"]:
        """Logits of skipping and of being processed."""
        if self.kind == "modality":
            if visual is None:
                raise ValueError(
                    "a router for each modality needs to know which tokens are pictures: give input_ids or the layout"
                )
            text, seen = self.router["text"](states), self.router["visual"](states)
            return torch.where(visual[..., None], seen, text)
        name = "shared" if self.kind == "shared" else f"layer_{layer}"
        return self.router[name](states)


class Pass:
    """One forward of a decoder: what came in, and what each routed layer decided.

    ``logits[layer]`` is ``(batch, tokens, 2)``; ``kept[layer]`` holds the kept tokens' places in the row, ``(batch,
    kept)``, sorted, −1 in front where a row keeps fewer.
    """

    def __init__(
        self,
        decoder: Any,
        present: Bool[Tensor, "batch tokens"],
        droppable: Bool[Tensor, "batch tokens"] | None,
        begin: int,
        cache: Any,
    ) -> None:
        self.decoder, self.present, self.droppable = decoder, present, droppable
        self.begin, self.end, self.cache = begin, begin + present.shape[1], cache
        self.logits: dict[int, Tensor] = {}
        self.kept: dict[int, Int[Tensor, "batch kept"]] = {}
        self.scaled: set[int] = set()

    def choose(
        self, layer: int, p: Float[Tensor, "batch tokens"], routers: Routers
    ) -> Int[Tensor, "batch kept"]:
        """The tokens kept at ``layer``; chosen once, as gradient checkpointing may come twice.

        There is one place at least: where nothing is kept it is empty, as layers cannot run on no token. Tensors
        without values, by which plans are made, keep every token.
        """
        if layer not in self.kept:
            if p.is_meta or isinstance(p, FakeTensor):
                kept = torch.arange(p.shape[1], device=p.device).expand(len(p), -1)
            else:
                keep = self._best(p, routers.skip) if routers.training else self._above(p, routers.thresholds)
                kept = _indices(keep)
            self.kept[layer] = kept if kept.shape[1] else kept.new_full((len(kept), 1), -1)
        return self.kept[layer]

    def _best(self, p: Tensor, skip: float) -> Bool[Tensor, "batch tokens"]:
        if self.droppable is None:
            raise ValueError(
                "training a model with routed layers needs to know which tokens may skip: give input_ids with "
                "placeholders, the layout of the batch, or train with the objective 'routed'"
            )
        droppable = self.droppable & self.present
        most = torch.ceil(self.present.sum(-1) - skip * droppable.sum(-1) - 1e-6).long()
        score = (p + 2.0 * ~droppable).masked_fill(~self.present, -1.0)
        rank = score.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        return (rank < most[:, None]) & self.present

    def _above(self, p: Tensor, thresholds: tuple[float, float]) -> Bool[Tensor, "batch tokens"]:
        single = self.begin > 0 and p.shape[1] == 1
        return (p > thresholds[single]) & self.present

    def mask(self, layer: int) -> Bool[Tensor, "batch tokens"]:
        """Which tokens ``layer`` kept, as a mask."""
        kept = self.kept[layer]
        batch, tokens = self.present.shape
        room = torch.zeros(batch, tokens + 1, dtype=torch.bool, device=kept.device)
        return room.scatter(1, torch.where(kept < 0, tokens, kept), True)[:, :tokens]

    def loss(self) -> Tensor:
        """Cross-entropy of the routers' logits, 1 for kept and 0 for skipped tokens: a sum over layers and tokens."""
        found = [
            F.cross_entropy(
                logits.float()[self.present], self.mask(layer)[self.present].long(), reduction="sum"
            )
            for layer, logits in self.logits.items()
        ]
        return torch.stack(found).sum()


@dataclass(frozen=True)
class _Entrance:
    droppable: Bool[Tensor, "batch tokens"] | None
    mask: Tensor | None


@dataclass(frozen=True)
class _Visit:
    """What one routed layer needs until it ends."""

    run: Pass
    layer: int
    hidden: Tensor
    kept: Int[Tensor, "batch kept"]
    p: Float[Tensor, "batch kept"]


@dataclass(frozen=True)
class _Record:
    passes: list[Pass]
    layout: Layout | None


_RECORD: ContextVar[_Record | None] = ContextVar("vitrail_routing_record", default=None)
_VISIT: ContextVar[_Visit | None] = ContextVar("vitrail_routing_visit", default=None)
"""The routed layer whose attention ran last, here: its FFN comes next."""


@contextmanager
def recorded(layout: Layout | None = None) -> Iterator[list[Pass]]:
    """Collect the :class:`Pass` of every forward inside, in this thread.

    ``layout`` says which tokens may skip, for models whose forward takes none.
    """
    passes: list[Pass] = []
    token = _RECORD.set(_Record(passes, layout))
    try:
        yield passes
    finally:
        _RECORD.reset(token)


def attach(model: Any, routers: Routers) -> None:
    """Hooks that route; ``routers`` must lie in the model, so that a copy of the model has copies of both."""
    decoder = model.get_decoder()
    model.register_forward_pre_hook(_enter_model, with_kwargs=True)
    decoder.register_forward_pre_hook(functools.partial(_enter_decoder, routers), with_kwargs=True)
    for index in routers.layers:
        layer = decoder.layers[index]
        enter = functools.partial(_enter_layer, index, routers)
        layer.register_forward_pre_hook(enter, with_kwargs=True)
        layer.self_attn.register_forward_pre_hook(functools.partial(_note, index), with_kwargs=True)
        layer.mlp.register_forward_hook(functools.partial(_scale, index))
        layer.register_forward_hook(functools.partial(_leave_layer, index), with_kwargs=True)


def _arguments(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    if not args:
        return dict(kwargs)
    return {**dict(zip(inspect.signature(module.forward).parameters, args, strict=False)), **kwargs}


def _enter_model(model: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """Which tokens may skip is known here: from the layout, or by the ids of the placeholders."""
    given = _arguments(model, args, kwargs)
    tokens = given.get("input_ids")
    tokens = given.get("inputs_embeds") if tokens is None else tokens
    if tokens is None:
        return None
    layout = given.get("layout")
    layout = _recorded_layout() if layout is None else layout
    droppable = _droppable(layout, tokens)
    if droppable is None and given.get("input_ids") is not None:
        names = ("image_token_id", "video_token_id")
        ids = [value for name in names if (value := getattr(model.config, name, None)) is not None]
        droppable = torch.isin(tokens, torch.tensor(ids, device=tokens.device, dtype=tokens.dtype))
    mask = given.get("attention_mask")
    given[KEYWORD] = _Entrance(droppable, mask if isinstance(mask, Tensor) and mask.ndim == 2 else None)
    return (), given


def _recorded_layout() -> Layout | None:
    record = _RECORD.get()
    return None if record is None else record.layout


def _droppable(layout: Layout | None, tokens: Tensor) -> Tensor | None:
    if layout is None or tuple(layout.shape) != tuple(tokens.shape[:2]):
        return None
    return layout.droppable.to(tokens.device)


def _enter_decoder(
    routers: Routers, decoder: Any, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]]:
    """Begin a :class:`Pass`."""
    given = _arguments(decoder, args, kwargs)
    _refuse(decoder)
    tokens = given["input_ids"] if given.get("inputs_embeds") is None else given["inputs_embeds"]
    entrance: _Entrance | None = given.get(KEYWORD)
    if entrance is None:  # called past the model's own entrance, as some wrappers do
        entrance = _Entrance(_droppable(_recorded_layout(), tokens), given.get("attention_mask"))
    cache = next((given[name] for name in NAMES if given.get(name) is not None), None)
    wanted = given.get("use_cache")
    wanted = getattr(decoder.config, "use_cache", False) if wanted is None else wanted
    cache = _prepared(cache, bool(wanted), routers.layers, decoder.config)
    given[cache_argument(decoder) or LIBRARY_NAME] = cache
    begin = int(cache.get_seq_length()) if cache is not None else 0
    batch, count = tokens.shape[:2]
    present = torch.ones(batch, count, dtype=torch.bool, device=tokens.device)
    if isinstance(entrance.mask, Tensor) and entrance.mask.ndim == 2:
        present = entrance.mask[:, begin : begin + count].bool()
    run = given[KEYWORD] = Pass(decoder, present, entrance.droppable, begin, cache)
    record = _RECORD.get()
    if record is not None:
        record.passes.append(run)
    return (), given


def _refuse(decoder: Any) -> None:
    attends = decoder.config._attn_implementation
    if attends not in _ATTENDS:
        raise ValueError(
            f"routed layers attend by sdpa or eager, this model by {attends!r}; load it with attn_implementation='sdpa'"
        )
    call = call_of(decoder=decoder)
    if call is not None and (call.rule.drops or call.rule.held):
        raise ValueError(
            f"{call.rule.name} takes tokens or cache entries away, and so do routed layers; use one of the two"
        )


def _prepared(cache: Any, wanted: bool, layers: tuple[int, ...], config: Any) -> Any:
    """A cache whose routed layers know which tokens they hold."""
    if cache is None and not wanted:
        return None
    if cache is None:
        cache = DynamicCache(config=config)
    if not isinstance(cache, DynamicCache):
        raise ValueError(
            f"caches of routed layers differ in length, which a {type(cache).__name__} cannot hold; leave "
            "cache_implementation and the cache unset"
        )
    while len(cache.layers) <= max(layers):
        cache.layers.append(DynamicLayer())
    for index in layers:
        layer: Any = cache.layers[index]
        if type(layer) is DynamicLayer:
            cache.layers[index] = HeldLayer.of(layer)
        elif not isinstance(cache.layers[index], HeldLayer):
            raise ValueError(
                f"layer {index} is routed and its cache is a {type(cache.layers[index]).__name__}"
            )
    return cache


def _enter_layer(
    index: int, routers: Routers, layer: Any, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]] | None:
    """Choose, gather, and let mask, positions and cache follow."""
    run = kwargs.get(KEYWORD)
    if not isinstance(run, Pass):
        return None
    hidden = args[0] if args else kwargs["hidden_states"]
    logits = run.logits[index] = routers(layer.input_layernorm(hidden), index, run.droppable)
    p = logits.float().softmax(-1)[..., 1]
    kept = run.choose(index, p.detach(), routers)
    absolute = torch.where(kept < 0, kept, kept + run.begin)
    columns, before = absolute, torch.zeros(len(kept), dtype=torch.long, device=kept.device)
    if run.cache is not None:
        held = run.cache.layers[index]
        before = before + (held.index >= 0).sum(-1).to(kept.device)
        # What is empty in every row is not held on.
        columns = held.arrive(absolute, run.end, kept.new_ones(run.end, dtype=torch.bool))
    kwargs["attention_mask"] = _mask(run, kwargs.get("attention_mask"), kept, absolute, columns)
    _place(run, kwargs, hidden, kept, before, routers.reindex)
    states = _rows(hidden, kept)
    kwargs[KEYWORD] = _Visit(run, index, hidden, kept, p.gather(1, kept.clamp(min=0)))
    if args:
        return (states, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": states}


def _mask(run: Pass, mask: Any, kept: Tensor, absolute: Tensor, columns: Tensor) -> Any:
    """The mask of kept tokens and held entries. None stays None (causal) where no row has an empty place."""
    empty = kept[:, None, :, None] < 0
    if mask is None:
        if len(kept) == 1:
            return None
        seen = (columns[:, None, None, :] <= absolute[:, None, :, None]) & (columns[:, None, None, :] >= 0)
        return seen | empty
    taken = _taken(mask, kept, columns)
    # An empty place sees everything: a query that sees nothing has no defined attention on every device.
    return taken | empty if taken.dtype == torch.bool else taken.masked_fill(empty, 0.0)


def _place(
    run: Pass, kwargs: dict[str, Any], hidden: Tensor, kept: Tensor, before: Tensor, reindex: bool
) -> None:
    if reindex:
        ranks = ((kept >= 0).long().cumsum(-1) - 1).clamp(min=0) + before[:, None]
        kwargs["position_embeddings"] = run.decoder.rotary_emb(hidden, ranks)
        if kwargs.get("position_ids") is not None:
            kwargs["position_ids"] = ranks
        return
    batch = len(kept)
    if kwargs.get("position_embeddings") is not None:
        both = kwargs["position_embeddings"]
        kwargs["position_embeddings"] = tuple(_rows(one.expand(batch, -1, -1), kept) for one in both)
    if kwargs.get("position_ids") is not None:
        kwargs["position_ids"] = kwargs["position_ids"].expand(batch, -1).gather(1, kept.clamp(min=0))


def _note(index: int, attention: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    """Attention runs inside the layer's forward, where recomputation begins too, and has its keywords; the FFN has
    none.
    """
    visit = kwargs.get(KEYWORD)
    if isinstance(visit, _Visit) and visit.layer == index:
        _VISIT.set(visit)


def _scale(index: int, mlp: nn.Module, args: tuple, output: Any) -> Any:
    """The FFN's branch times p."""
    visit = _VISIT.get()
    if visit is None or visit.layer != index:
        return None
    _VISIT.set(None)
    visit.run.scaled.add(index)
    if isinstance(output, tuple):
        return (output[0] * visit.p[..., None].to(output[0].dtype), *output[1:])
    return output * visit.p[..., None].to(output.dtype)


def _leave_layer(index: int, layer: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    """Put kept tokens back into the row."""
    visit = kwargs.get(KEYWORD)
    if not isinstance(visit, _Visit):
        return None
    if index not in visit.run.scaled:
        raise ValueError(
            f"{type(layer).__name__} does not pass its keywords on to its attention, so the router's probability does "
            "not reach its FFN; this model cannot have routed layers"
        )
    states = output[0] if isinstance(output, tuple) else output
    tokens = visit.hidden.shape[1]
    places = torch.where(visit.kept < 0, tokens, visit.kept)[..., None].expand(-1, -1, states.shape[-1])
    room = F.pad(visit.hidden, (0, 0, 0, 1))
    whole = room.scatter(1, places, states.to(room.dtype))[:, :tokens]
    return (whole, *output[1:]) if isinstance(output, tuple) else whole
