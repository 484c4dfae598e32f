"""One call of the model, read by several objectives.

An objective that reads the batch as it is says beforehand what it will look at (:class:`Needs`); the model is called
once with everything that anybody needs, always through ``model(**batch)``, and each objective reads its share off what
was seen (:class:`Seen`). What has no place in a model's output is taken where every family has it: the decoder's inputs
are the word embeddings with the connector's visual tokens in their places, its output the states in front of the head.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitrail.models.logits import logits_at, unwrapped
from vitrail.objectives.head_states import HeadStates, states_at
from vitrail.objectives.isolation import isolated

Batch = Mapping[str, Any]
"""What a collator returns: arguments of the model, ``labels``, and ``layout``."""

_NOT_FOR_THE_MODEL = ("labels", "loss_weights")
FOR_TEACHERS = "teacher."
"""Entries of a batch whose names begin so are for a teacher (:mod:`vitrail.objectives.teacher`)."""


@dataclass(frozen=True)
class Needs:
    """What an objective reads of a call: masks of positions, None for nothing.

    ``logits``: where the head is asked; ``states``: where the decoder's last states are read; ``embeddings``: where
    the decoder's inputs are, which at visual positions are the connector's tokens. ``in_chunks``: whoever reads the
    logits also reads :meth:`Seen.head`, so that they need not exist all at once.
    """

    logits: Bool[Tensor, "batch tokens"] | None = None
    states: Bool[Tensor, "batch tokens"] | None = None
    embeddings: Bool[Tensor, "batch tokens"] | None = None
    in_chunks: bool = False

    def union(self, other: Needs) -> Needs:
        """What serves both."""
        return Needs(
            _either(self.logits, other.logits),
            _either(self.states, other.states),
            _either(self.embeddings, other.embeddings),
            all(one.in_chunks or one.logits is None for one in (self, other)),
        )


def _either(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a | b


class Seen:
    """What one call gave. Reading at a mask that was not asked for is a programming error."""

    def __init__(
        self,
        needs: Needs,
        model: nn.Module,
        output: Any,
        states: Any,
        embeddings: Any,
        head: HeadStates | None = None,
    ) -> None:
        self.needs, self.model, self.output = needs, model, output
        self._states, self._embeddings, self._head = states, embeddings, head

    def logits(self, at: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "kept vocab"]:
        """The logits at the positions ``at``, row by row, in the model's precision."""
        whole = self.output.logits if self._head is None else self._head.logits()
        return _rows(whole, self.needs.logits, at)

    def head(self, at: Bool[Tensor, "batch tokens"]) -> HeadStates | None:
        """What stands in front of the head at the positions ``at``, where logits were not made; else None."""
        chosen = _chosen(self.needs.logits, at)
        return self._head if self._head is None or chosen is None else self._head.rows(chosen)

    def at(self, needs: Needs) -> Seen:
        """The same rows under other masks, which have as many positions in the same order."""
        return Seen(needs, self.model, self.output, self._states, self._embeddings, self._head)

    def states(self, at: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "kept hidden"]:
        """The states in front of the head at the positions ``at``, row by row."""
        return _rows(self._states, self.needs.states, at)

    def embeddings(self, at: Bool[Tensor, "batch tokens"]) -> Float[Tensor, "kept hidden"]:
        """What entered the decoder at the positions ``at``, row by row."""
        return _rows(self._embeddings, self.needs.embeddings, at)


def _rows(values: Tensor, known: Tensor | None, at: Tensor) -> Tensor:
    chosen = _chosen(known, at)
    return values if chosen is None else values[chosen]


def _chosen(known: Tensor | None, at: Tensor) -> Tensor | None:
    """Which of the rows at ``known`` are those at ``at``; None for all of them."""
    assert known is not None and not bool((at & ~known).any()), "this was not among the needs"
    chosen = at[known]
    return None if bool(chosen.all()) else chosen


def look(model: nn.Module, batch: Batch, needs: Needs) -> Seen:
    """Call ``model`` once on ``batch``, without a cache, and keep what is needed.

    ValueError where states or embeddings are needed of a model whose decoder changes the number of its tokens.
    """
    keep = needs.logits
    if keep is None:
        keep = batch["attention_mask"].new_zeros(batch["attention_mask"].shape).bool()
    with isolated(model, batch), _decoder_watched(model, needs) as found:
        run = states_at if needs.in_chunks else _whole
        output, head = run(model, keep, **{"use_cache": False, **model_inputs(model, batch)})
    return Seen(needs, model, output, found.get("states"), found.get("embeddings"), head)


def _whole(model: nn.Module, keep: Tensor, **inputs: Any) -> tuple[Any, None]:
    return logits_at(model, keep, **inputs), None


@contextmanager
def _decoder_watched(model: nn.Module, needs: Needs) -> Iterator[dict[str, Tensor]]:
    """Fill a dictionary with the rows of the decoder's inputs and outputs that are needed."""
    found: dict[str, Tensor] = {}
    if needs.states is None and needs.embeddings is None:
        yield found
        return
    decoder: Any = unwrapped(model).get_decoder()  # type: ignore[operator]

    def taken(values: Tensor, at: Tensor) -> Tensor:
        if values.shape[:2] != at.shape:
            raise ValueError(
                f"the decoder has {values.shape[1]} tokens a row where the batch has {at.shape[1]}: this model takes "
                "tokens away, and an objective that compares states by position cannot read it"
            )
        return values[at]

    def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        values = kwargs.get("inputs_embeds")
        if values is None:
            ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
            values = decoder.get_input_embeddings()(ids)
        found["embeddings"] = taken(values, needs.embeddings)  # type: ignore[arg-type]

    def leave(_: nn.Module, __: tuple, output: Any) -> None:
        found["states"] = taken(output[0], needs.states)  # type: ignore[arg-type]

    handles = []
    if needs.embeddings is not None:
        handles.append(decoder.register_forward_pre_hook(enter, with_kwargs=True))
    if needs.states is not None:
        handles.append(decoder.register_forward_hook(leave))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def united(needs: Iterable[Needs]) -> Needs:
    """What serves all."""
    whole = Needs()
    for one in needs:
        whole = whole.union(one)
    return whole


def model_inputs(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """The entries of ``batch`` that ``model`` takes: no labels (the objective reads them), ``layout`` where
    known."""
    dropped = _NOT_FOR_THE_MODEL if accepts(model, "layout") else (*_NOT_FOR_THE_MODEL, "layout")
    return {
        name: value
        for name, value in batch.items()
        if name not in dropped and not name.startswith(FOR_TEACHERS)
    }


_ACCEPTED: weakref.WeakKeyDictionary[type, dict[str, bool]] = weakref.WeakKeyDictionary()


def accepts(model: nn.Module, argument: str) -> bool:
    """Whether the forward of the model inside wrappers names ``argument`` (``**kwargs`` do not count)."""
    kind = type(unwrapped(model))
    known = _ACCEPTED.setdefault(kind, {})
    if argument not in known:
        known[argument] = argument in inspect.signature(kind.forward).parameters
    return known[argument]
