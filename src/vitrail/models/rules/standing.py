"""Rules that stand in a model: they hold in every forward and every ``generate``, without a block around it.

A model with standing rules has a class of its own, derived from the one it had and of the same name, whose ``forward``
and ``generate`` take the ``layout`` of the batch. So trainers, scorers and generation, which hand a layout to every
model that names it, need to know nothing. ``with applied(model, rule, layout)`` combines its rule with those that
stand.

Where no layout comes with a batch it is told from the placeholders (:mod:`vitrail.models.rules.derived`), or refused.
A cache remembers the layout of what it holds, through every reordering of its rows, so that words behind a prompt
(options that are scored, for example) need none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.utils import ModelOutput

from vitrail.models.caching import NAMES, cache_of
from vitrail.models.layout import Layout
from vitrail.models.logits import unwrapped
from vitrail.models.rules.applied import applied, enter_model, named_arguments
from vitrail.models.rules.call import call_of
from vitrail.models.rules.derived import derived_layout, has_pictures
from vitrail.models.rules.rule import Rule
from vitrail.models.rules.target import STANDING, Target


def stand(model: nn.Module, name: str, rule: Rule) -> None:
    """Let ``rule`` stand in ``model`` under ``name``; it is and-ed to those that stand there already.

    ValueError if the rule cannot hold in this model, or if one of this name stands there.
    """
    inner: Any = unwrapped(model)
    there = standing(inner)
    if name in there:
        raise ValueError(f"{name} stands in this model already; withdraw(model, {name!r}) first")
    together = functools.reduce(lambda left, right: left & right, [*there.values(), rule])
    Target.of(inner).check(together)
    setattr(inner, STANDING, {**there, name: rule})
    if not isinstance(inner, _Standing):
        inner.__class__ = _standing_class(type(inner))


def withdraw(model: nn.Module, name: str) -> None:
    """Take away the rule that stands under ``name``; without rules the model is what it was before.

    ValueError if there is none of this name.
    """
    inner: Any = unwrapped(model)
    there = standing(inner)
    if name not in there:
        raise ValueError(f"no rule {name!r} stands in this model; there are: {', '.join(there) or 'none'}")
    left = {key: rule for key, rule in there.items() if key != name}
    setattr(inner, STANDING, left)
    if not left:
        delattr(inner, STANDING)
        if _Standing in type(inner).__bases__:
            inner.__class__ = type(inner).__bases__[1]


def standing(model: nn.Module) -> dict[str, Rule]:
    """The rules that stand in ``model``, by name, in their order."""
    return dict(getattr(unwrapped(model), STANDING, {}))


class _Standing:
    """What the class of a model with standing rules is derived from, beside the one it had."""


_CLASSES: dict[type, type] = {}


def _standing_class(base: type) -> type:
    if base not in _CLASSES:
        _CLASSES[base] = _derived_class(base)
    return _CLASSES[base]


def _derived_class(base: Any) -> type:
    """``base``, whose forward and generate hold the rules that stand in the instance."""
    takes_layout = "layout" in inspect.signature(base.forward).parameters

    class Standing(_Standing, base):  # type: ignore[misc, valid-type]
        @functools.wraps(base.forward)
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            with _held(self, args, kwargs) as (given, layout):
                if not takes_layout:
                    given.pop("layout", None)
                output = base.forward(self, **given)
            _remember(cache_of(output) if isinstance(output, ModelOutput) else None, layout)
            return output

        @functools.wraps(base.generate)
        def generate(
            self, inputs: Tensor | None = None, *args: Any, layout: Layout | None = None, **kwargs: Any
        ) -> Any:
            if call_of(decoder=self.get_decoder()) is not None:
                if layout is not None:
                    kwargs["layout"] = layout
                return base.generate(self, inputs, *args, **kwargs)
            if layout is None and _needed(self):
                layout = derived_layout(self, kwargs if inputs is None else {**kwargs, "input_ids": inputs})
            with applied(self, None, layout):
                return base.generate(self, inputs, *args, **kwargs)

        forward.__signature__ = _with_layout(inspect.signature(base.forward))  # type: ignore[attr-defined]

    Standing.__name__, Standing.__qualname__, Standing.__module__ = (
        base.__name__,
        base.__qualname__,
        base.__module__,
    )
    return Standing


def _with_layout(signature: inspect.Signature) -> inspect.Signature:
    parameters = list(signature.parameters.values())
    if "layout" in signature.parameters:
        return signature
    place = next((n for n, p in enumerate(parameters) if p.kind is p.VAR_KEYWORD), len(parameters))
    parameters.insert(place, inspect.Parameter("layout", inspect.Parameter.KEYWORD_ONLY, default=None))
    return signature.replace(parameters=parameters)


@contextmanager
def _held(model: Any, args: tuple, kwargs: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Layout | None]]:
    """The rules hold around one forward, unless they do already (``generate``, ``applied``).

    Gives its arguments by name, and the layout that its cache is to remember.
    """
    given = named_arguments(model, args, kwargs)
    asks = given.get("input_ids") is not None or given.get("inputs_embeds") is not None
    if not asks or not standing(model) or call_of(decoder=model.get_decoder()) is not None:
        yield given, None
        return
    layout = given.get("layout")
    if layout is None and _needed(model):
        layout = _known(model, given)
    with applied(model, None, layout):
        entered = enter_model(model.get_decoder(), model, (), {**given, "layout": layout})
        yield (given if entered is None else entered[1]), layout


def _needed(model: Any) -> bool:
    return any(rule.needs_layout for rule in standing(model).values())


def _known(model: Any, given: dict[str, Any]) -> Layout:
    """The layout of what the cache holds, or of what the placeholders tell. ValueError where neither is enough."""
    cache = next((given[name] for name in NAMES if given.get(name) is not None), None)
    if cache is None or not cache.get_seq_length():
        return derived_layout(model, given)
    remembered = getattr(cache, _REMEMBERED, None)
    if remembered is None:
        raise ValueError(
            f"{' & '.join(standing(model))} stands in this model and must know what the tokens in the cache are: give "
            "layout=… of all tokens from the first one on, or a cache that a forward of this model filled"
        )
    if has_pictures(model, given.get("input_ids")):
        raise ValueError(
            "input_ids hold a picture behind a cache; give layout=… of all tokens from the first one on"
        )
    return remembered


_REMEMBERED = "_vitrail_layout"


class RememberingCache(DynamicCache):
    """A cache that knows the layout of its prompt, row by row."""

    def _rows(self, index: Tensor) -> None:
        layout: Layout | None = getattr(self, _REMEMBERED, None)
        if layout is not None:
            setattr(self, _REMEMBERED, layout.rows(index.to(layout.segment.device)))

    def _count(self) -> int:
        layout: Layout | None = getattr(self, _REMEMBERED, None)
        return 0 if layout is None else len(layout.segment)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Rows in another order, some several times."""
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        self._rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row several times."""
        super().batch_repeat_interleave(repeats)
        self._rows(torch.arange(self._count()).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Some rows."""
        super().batch_select_indices(indices)
        self._rows(indices)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        setattr(self, _REMEMBERED, None)


def _remember(cache: Any, layout: Layout | None) -> None:
    """Keep the layout with the cache; a kind of cache whose rows cannot be followed keeps none."""
    if layout is not None and type(cache) in (DynamicCache, RememberingCache):
        cache.__class__ = RememberingCache
        setattr(cache, _REMEMBERED, layout)
