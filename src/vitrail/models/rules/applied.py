"""A rule holds in a model for a while: ``with applied(model, rule, layout): model(**batch)``, or ``generate``."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.models.caching import LIBRARY_NAME, NAMES, cache_argument
from vitrail.models.layout import Layout
from vitrail.models.rules import asking, dropping, lowering
from vitrail.models.rules.call import _CALLS, Call, Pass, call_of, here
from vitrail.models.rules.packing import all_present
from vitrail.models.rules.rule import KEYWORD, Rule
from vitrail.models.rules.target import Target, with_standing

_ORIGIN = "_vitrail_first_position"
_LOCK = threading.RLock()


class _Installed:
    """What stands in a decoder while a rule holds in it somewhere: counted, because threads share the model."""

    def __init__(self) -> None:
        self.uses = 0
        self.handles: list[Any] = []
        self.before: list[tuple[Any, Any]] = []
        self.silences = False


_INSTALLED: weakref.WeakKeyDictionary[nn.Module, _Installed] = weakref.WeakKeyDictionary()


@contextmanager
def applied(model: nn.Module, rule: Rule | None, layout: Layout | None = None) -> Iterator[Call | None]:
    """Let ``rule`` hold in ``model``, in this thread and task, until the block ends, however it ends.

    ``layout`` describes the tokens of the batch from the first one on (those in a cache included); tokens to come are
    text behind it, and rows are repeated where generation repeats them. Our own model takes the one that comes with a
    batch (but not through ``generate``). With ``rule`` None nothing is touched. Gives the :class:`Call`, whose
    ``kept`` says which tokens were still there behind the last layer.

    ValueError if the rule cannot hold in this model, saying which part and why; if a rule holds already; in the
    forward, if the layout is not that of the batch. A model under ``torch.compile`` is refused
    (``disable_compile=True`` for ``generate``). A new thread starts without the rule, unless it runs in a copy of the
    context (``contextvars``).

    Rules that stand in the model (:mod:`vitrail.models.rules.standing`) hold with ``rule``.
    """
    rule = with_standing(model, rule)
    if rule is None:
        yield None
        return
    target = Target.of(model)
    target.check(rule)
    if (other := call_of(decoder=target.decoder)) is not None:
        raise ValueError(
            f"{other.rule.name} holds in this model already; combine: applied(model, a & b, layout)"
        )
    call = Call(rule, target, layout)
    with _installed(target, rule):
        token = _CALLS.set((*here(), call))
        try:
            yield call
        finally:
            _CALLS.reset(token)


@contextmanager
def _installed(target: Target, rule: Rule) -> Iterator[None]:
    with _LOCK:
        there = _INSTALLED.setdefault(target.decoder, _Installed())
        if not there.uses:
            _install(target, there)
        if rule.silent and not there.silences:
            there.handles += asking.install(target.decoder)
            there.silences = True
        there.uses += 1
    try:
        yield
    finally:
        _release(there)


def _release(there: _Installed) -> None:
    with _LOCK:
        there.uses -= 1
        if not there.uses:
            _remove(there)


def _hold_for_recomputation(decoder: Any, run: Pass) -> None:
    """Gradient checkpointing may run the layers again when the block has ended. What they need then stays in the
    decoder until the graph, and with it the pass, is gone; without a rule in the context it changes nothing.
    """
    checkpoints = any(getattr(layer, "gradient_checkpointing", False) for layer in decoder.layers)
    if checkpoints and decoder.training and torch.is_grad_enabled():
        with _LOCK:
            there = _INSTALLED[decoder]
            there.uses += 1
        weakref.finalize(run, _release, there).atexit = False


def _install(target: Target, there: _Installed) -> None:
    implementation = target.implementation
    name = lowering.NAMES.get(implementation)
    if name is None and implementation not in lowering.NAMES.values():
        raise ValueError(
            f"{target.name} attends by {implementation!r}; rules hold under {', '.join(lowering.NAMES)}: "
            "load the model with attn_implementation='sdpa'"
        )
    try:
        for config in target.configs:
            there.before.append((config, config._attn_implementation))
            if name is not None:
                config._attn_implementation = name
        decoder = target.decoder
        for entrance in target.entrances:
            hook = functools.partial(enter_model, decoder)
            there.handles.append(entrance.register_forward_pre_hook(hook, with_kwargs=True))
        there.handles.append(decoder.register_forward_pre_hook(_enter_decoder, with_kwargs=True))
        there.handles.append(decoder.register_forward_hook(_leave_decoder, with_kwargs=True))
        for index, layer in enumerate(decoder.layers):
            hook = functools.partial(dropping.enter, index)
            there.handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
        last = decoder.layers[-1]
        there.handles.append(last.register_forward_hook(dropping.leave, with_kwargs=True))
    except BaseException:
        _remove(there)
        raise


def _remove(there: _Installed) -> None:
    for handle in there.handles:
        handle.remove()
    for config, before in there.before:
        config._attn_implementation = before
    there.handles, there.before, there.silences = [], [], False


def named_arguments(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Every argument by its name."""
    if not args:
        return dict(kwargs)
    parameters = list(inspect.signature(module.forward).parameters)
    return {**dict(zip(parameters, args, strict=False)), **kwargs}


def enter_model(
    decoder: nn.Module, module: nn.Module, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]] | None:
    """A mask is always passed on, and the layout that comes with the batch is taken."""
    call = call_of(decoder=decoder)
    if call is None:
        return None
    if torch.compiler.is_compiling():
        raise ValueError(
            f"{call.rule.name} cannot hold in a compiled model; run it uncompiled (generate: disable_compile=True)"
        )
    given = named_arguments(module, args, kwargs)
    tokens = given.get("input_ids")
    tokens = given.get("inputs_embeds") if tokens is None else tokens
    if tokens is None:
        return None
    cache = _cache(given)
    past = int(cache.get_seq_length()) if cache is not None else 0
    if given.get("attention_mask") is None:
        given["attention_mask"] = all_present(tokens, past)
    mask = given["attention_mask"]
    if isinstance(mask, Tensor) and mask.ndim == 2:
        call.see_layout(given.get("layout"), mask, first=not past)
        _refuse_other_positions(call, given.get("position_ids"), mask)
    return (), given


def _refuse_other_positions(call: Call, given: Any, mask: Tensor) -> None:
    """Positions in the call that are neither the rule's nor plain counting would silently be lost."""
    if not isinstance(given, Tensor) or given.ndim != 2 or given.shape[-1] != mask.shape[-1]:
        return
    wanted = call.place(len(mask), 0, mask.shape[-1], mask.device)
    if wanted is None:
        return
    there, given = mask.bool(), given.expand(len(mask), -1)
    origin = torch.where(there, given, given.max()).amin(-1, keepdim=True)
    count = mask.cumsum(-1) - 1
    plain = torch.arange(mask.shape[-1], device=mask.device).expand_as(given)
    plain = plain - torch.where(there, plain, plain.max()).amin(-1, keepdim=True)
    allowed = [count, plain] if wanted.ndim == 3 else [wanted, count, plain]
    if not any(torch.equal((given - origin)[there], one[there]) for one in allowed):
        raise ValueError(
            f"{call.rule.name} sets positions, and the call gives other position_ids; leave position_ids out, or use "
            "given_positions(position_ids) with a rule that sets none"
        )


def _enter_decoder(
    decoder: nn.Module, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]] | None:
    """Begin a :class:`Pass`: positions, cache, and the keyword that travels to the layers."""
    call = call_of(decoder=decoder)
    if call is None:
        return None
    given = named_arguments(decoder, args, kwargs)
    tokens = given["input_ids"] if given.get("inputs_embeds") is None else given["inputs_embeds"]
    batch, count = tokens.shape[:2]
    name = cache_argument(decoder) or LIBRARY_NAME
    cache = _cache(given)
    begin = int(cache.get_seq_length()) if cache is not None else 0
    if given.get("attention_mask") is None:
        given["attention_mask"] = all_present(tokens, begin)
    mask = given["attention_mask"]
    if isinstance(mask, Tensor) and mask.ndim == 2:
        call.see_layout(None, mask, first=not begin)
    _refuse_foreign_mask(call, mask)
    wanted = given.get("use_cache")
    wanted = getattr(decoder.config, "use_cache", False) if wanted is None else wanted
    given[name] = cache = dropping.prepare_cache(call, cache, bool(wanted))
    run = Pass(call, batch, begin, begin + count, cache, tokens.device)
    place = call.place(batch, begin, begin + count, tokens.device)
    if place is not None:
        given["position_ids"] = place + _origin(given.get("position_ids"), begin, cache)
    _hold_for_recomputation(decoder, run)
    given[KEYWORD] = run
    return (), given


def _refuse_foreign_mask(call: Call, mask: Any) -> None:
    ready = list(mask.values()) if isinstance(mask, Mapping) else [mask]
    for one in ready:
        if one is None or (isinstance(one, Tensor) and one.ndim == 2):
            continue
        if call.shapes_mask and not (isinstance(one, lowering.BlockMasks) or call.is_made(one)):
            raise ValueError(
                f"{call.rule.name} and a ready mask of four dimensions cannot both hold; pass the attention mask "
                "(batch, tokens)"
            )


def _origin(own: Any, begin: int, cache: Any) -> int:
    """Where the model itself begins to count: 1 for PaliGemma, 0 for others. Kept with the cache."""
    if begin:
        return getattr(cache, _ORIGIN, 0)
    origin = int(own.min()) if isinstance(own, Tensor) else 0
    if cache is not None:
        setattr(cache, _ORIGIN, origin)
    return origin


def _leave_decoder(decoder: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
    """No layer may have missed the rule."""
    run: Pass | None = kwargs.get(KEYWORD)
    if run is None or not (run.call.shapes_mask or run.wanted or run.text_wanted or run.call.rule.silent):
        return
    missed = sorted(set(range(run.call.target.num_layers)) - run.saw)
    if missed:
        raise ValueError(
            f"{run.call.rule.name} did not reach layer {missed[0]} of {run.call.target.name}: it does not attend "
            "through transformers' attention interface, or its forward does not pass its keywords on"
        )


def _cache(given: dict[str, Any]) -> Any:
    return next((given[name] for name in NAMES if given.get(name) is not None), None)


lowering.register()
