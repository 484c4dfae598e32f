"""What a request asks of the model, in the library's own words; and how the model carries it out.

An order is one request: one or several prompts, ``n`` answers to each. Whoever carries orders out (one by one today)
tells what happens as events; each answer is what it would be if it were asked alone.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.records import Chat, Document, Text
from vitrail.inference.completion import Completion, Piece, Token, complete
from vitrail.inference.generation import GenerationSettings, require_room
from vitrail.inference.inputs import context_length, extended
from vitrail.inference.prompt_logprobs import prompt_logprobs
from vitrail.serving.errors import Refused

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

Prompt = Chat | str | list[int]
"""A chat to answer, or a text, or its tokens, to continue."""


@dataclass(frozen=True)
class Order:
    """``sampling`` are fields of :class:`GenerationSettings`. ``max_tokens``: of an answer; None: what fits, up to
    ``most``; 0: no answer is made. ``echo``: the prompt's tokens are told, too.
    """

    prompts: tuple[Prompt, ...]
    sampling: dict[str, Any]
    max_tokens: int | None
    most: int
    n: int = 1
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    echo: bool = False


@dataclass(frozen=True)
class Begun:
    """The prompts fit and are being answered; they have ``tokens`` together."""

    tokens: int


@dataclass(frozen=True)
class Echo:
    """The prompt of answer ``index``, token by token."""

    index: int
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Delta:
    """A further piece of answer ``index``."""

    index: int
    piece: Piece


@dataclass(frozen=True)
class Ended:
    """Answer ``index`` is whole."""

    index: int
    completion: Completion


Event = Begun | Echo | Delta | Ended


def carry_out(
    bundle: Bundle, order: Order, emit: Callable[[Event], None], cancelled: threading.Event
) -> None:
    """Answer an order. :class:`Refused` where a prompt cannot be asked of this model, before anything is emitted."""
    prompts = [_encoded(bundle, prompt, place, order) for place, prompt in enumerate(order.prompts)]
    settings = [_settings(bundle, prompt, order) for prompt in prompts]
    emit(Begun(sum(prompt.length for prompt in prompts)))
    for place, (prompt, chosen) in enumerate(zip(prompts, settings, strict=True)):
        if order.echo:
            told = _told(bundle, prompt, order.top_logprobs)
            for index in _indices(place, order):
                emit(Echo(index, told))
        for index, one in zip(_indices(place, order), _seeded(chosen, order.n), strict=True):
            if cancelled.is_set():
                return
            emit(Ended(index, _answer(bundle, prompt, one, order, index, emit, cancelled)))


def _indices(place: int, order: Order) -> range:
    return range(place * order.n, (place + 1) * order.n)


def _seeded(settings: GenerationSettings | None, n: int) -> Iterator[GenerationSettings | None]:
    """Several answers to one prompt are drawn with consecutive seeds."""
    for number in range(n):
        yield settings and settings.model_copy(update={"seed": settings.seed + number})


def _answer(
    bundle: Bundle,
    prompt: Encoded,
    settings: GenerationSettings | None,
    order: Order,
    index: int,
    emit: Callable[[Event], None],
    cancelled: threading.Event,
) -> Completion:
    if settings is None:
        return Completion("", (), "length", 0)
    return complete(
        bundle,
        prompt,
        settings,
        stop=order.stop,
        top_logprobs=order.top_logprobs,
        strip=isinstance(order.prompts[index // order.n], Chat),
        cancelled=cancelled,
        emit=lambda piece: emit(Delta(index, piece)),
    )


def _settings(bundle: Bundle, prompt: Encoded, order: Order) -> GenerationSettings | None:
    """How an answer is made. :class:`Refused` where it may not fit."""
    wanted = order.max_tokens
    limit = context_length(bundle.model)
    if wanted is None:
        wanted = order.most if limit is None else max(1, min(order.most, limit - prompt.length))
    if wanted == 0:
        if limit is not None and prompt.length > limit:
            raise _too_long(
                f"the prompt has {prompt.length} tokens; the model's context is {limit}, so shorten it"
            )
        return None
    sampling = {"seed": secrets.randbelow(2**31), **order.sampling}
    if not sampling.get("temperature"):
        sampling = {name: value for name, value in sampling.items() if name not in ("top_p", "top_k")}
    settings = GenerationSettings(max_new_tokens=wanted, **sampling)
    try:
        require_room(bundle, prompt, settings)
    except ValueError as error:
        raise _too_long(str(error).replace("max_new_tokens", "max_tokens")) from None
    return settings


def _too_long(message: str) -> Refused:
    return Refused(400, message, param="messages", code="context_length_exceeded")


def _encoded(bundle: Bundle, prompt: Prompt, place: int, order: Order) -> Encoded:
    where = f"prompt[{place}]" if len(order.prompts) > 1 else "prompt"
    try:
        if isinstance(prompt, Chat):
            where = "messages"
            return bundle.encoder.encode(prompt, add_generation_prompt=True)
        return _continued(bundle, prompt)
    except ValueError as error:
        raise Refused(400, f"{where}: {error}", param=where) from None


def _continued(bundle: Bundle, prompt: str | list[int]) -> Encoded:
    """A text as its tokenizer reads it (its begin token in front, where it has one; nothing in it is special)."""
    begin = bundle.encoder.encode(Document(content=(Text(text="."),)), add_generation_prompt=True)
    if isinstance(prompt, str):
        ids = (
            list(bundle.tokenizer(prompt, split_special_tokens=True)["input_ids"]) or begin.input_ids.tolist()
        )
    else:
        ids = prompt
        _require_tokens(bundle, ids)
    first = dataclasses.replace(begin, input_ids=np.asarray(ids[:1], dtype=begin.input_ids.dtype))
    return extended(first, ids[1:])


def _require_tokens(bundle: Bundle, ids: list[int]) -> None:
    size = len(bundle.tokenizer)
    wrong = next((one for one in ids if not 0 <= one < size), None)
    if not ids or wrong is not None:
        raise ValueError(
            f"must hold tokens from 0 to {size - 1:,}, but it {'is empty' if not ids else f'has {wrong}'}"
        )
    if bundle.encoder.image_token_id in ids:
        raise ValueError("holds the token that stands for a picture; pictures go with /v1/chat/completions")


def _told(bundle: Bundle, prompt: Encoded, top: int | None) -> tuple[Token, ...]:
    if top is None:
        return tuple(Token(int(one)) for one in prompt.input_ids)
    return prompt_logprobs(bundle, prompt, top)
