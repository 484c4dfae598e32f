"""What a request asks of the model, in the library's own words; what happens to it; and how it is answered by itself.

An order is one request: one or several prompts, ``n`` answers to each. What happens is told as events. Each answer is
what it would be if it were asked alone, whoever carries it out: :func:`carry_out`, one answer after the other, or
:mod:`vitrail.serving.scheduler`, with those of other orders.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitrail.data.records import Chat
from vitrail.inference.completion import Completion, Piece, Token, complete
from vitrail.inference.generation import GenerationSettings, require_room
from vitrail.inference.inputs import context_length, continuing
from vitrail.inference.prompt_logprobs import prompt_logprobs
from vitrail.inference.rewriting import CannotRewrite
from vitrail.serving.errors import Refused
from vitrail.serving.offers import NONE, Chosen
from vitrail.serving.traces import traces, watched

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded
    from vitrail.models.rules.call import Call

Prompt = Chat | str | list[int]
"""A chat to answer, or a text, or its tokens, to continue."""


@dataclass(frozen=True)
class Order:
    """``sampling`` are fields of :class:`GenerationSettings`. ``max_tokens``: of an answer; None: what fits, up to
    ``most``; 0: no answer is made. ``echo``: the prompt's tokens are told, too. ``in_pieces``: answers are told as they
    grow, not only at their end. ``tools``: what a chat's answer may call, as OpenAI writes it. ``methods``: those of
    inference that the request switched on.
    """

    prompts: tuple[Prompt, ...]
    sampling: dict[str, Any]
    max_tokens: int | None
    most: int
    n: int = 1
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    echo: bool = False
    in_pieces: bool = True
    tools: tuple[dict[str, Any], ...] = ()
    methods: Chosen = NONE


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


@dataclass(frozen=True)
class Did:
    """What each method of inference did to the order's chat, by its name (:mod:`vitrail.serving.traces`)."""

    methods: dict[str, dict[str, Any]]


Event = Begun | Echo | Delta | Ended | Did
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Asked:
    """An answer to be made: number ``index`` of its order."""

    index: int
    prompt: Encoded
    settings: GenerationSettings
    order: Order

    @property
    def strip(self) -> bool:
        """Whether white space around the answer is left out: around a chat's, not of a text that goes on."""
        return isinstance(self.order.prompts[self.index // self.order.n], Chat)

    def told(self, emit: Emit) -> Callable[[Piece], None] | None:
        """Who takes the answer's pieces; None where nobody asks for them."""
        return (lambda piece: emit(Delta(self.index, piece))) if self.order.in_pieces else None


def begin(bundle: Bundle, order: Order, emit: Emit) -> list[list[Asked]]:
    """The answers that an order asks for, those to one prompt together; its beginning, and prompts that are echoed,
    are told.

    :class:`Refused` where a prompt cannot be asked of this model, before anything is told.
    """
    prompts = [_encoded(bundle, prompt, place, order) for place, prompt in enumerate(order.prompts)]
    settings = [_settings(bundle, prompt, order) for prompt in prompts]
    emit(Begun(sum(prompt.length for prompt in prompts)))
    asked: list[list[Asked]] = []
    for place, (prompt, chosen) in enumerate(zip(prompts, settings, strict=True)):
        indices = range(place * order.n, (place + 1) * order.n)
        if order.echo:
            told = _told(bundle, prompt, order.top_logprobs)
            for index in indices:
                emit(Echo(index, told))
        if chosen is None:
            for index in indices:
                emit(Ended(index, Completion("", (), "length", 0)))
            continue
        asked.append(
            [
                # Several answers to one prompt are drawn with consecutive seeds.
                Asked(index, prompt, chosen.model_copy(update={"seed": chosen.seed + number}), order)
                for number, index in enumerate(indices)
            ]
        )
    return asked


def carry_out(bundle: Bundle, order: Order, emit: Emit, cancelled: threading.Event) -> None:
    """Answer an order, one answer after the other, with its methods. :class:`Refused` as :func:`begin`."""
    with order.methods.using(bundle) as asked:
        for number, one in enumerate(one for some in begin(asked, order, emit) for one in some):
            if cancelled.is_set():
                return
            _answer(asked, one, emit, cancelled, tells=not number)


def _answer(bundle: Bundle, one: Asked, emit: Emit, cancelled: threading.Event, tells: bool) -> None:
    """Make an answer; with ``tells``, what the methods did is told with it."""
    order = one.order
    with watched(bundle, one.prompt) as call:
        try:
            made = complete(
                bundle,
                one.prompt,
                one.settings,
                stop=order.stop,
                top_logprobs=order.top_logprobs,
                strip=one.strip,
                cancelled=cancelled,
                emit=one.told(emit),
            )
        except ValueError as error:
            if call is None:
                raise
            raise order.methods.refused("", error) from None  # a rule that cannot hold for this prompt
    if tells:
        tell_methods(bundle, one, emit, call)
    emit(Ended(one.index, made))


def tell_methods(bundle: Bundle, one: Asked, emit: Emit, call: Call | None = None) -> None:
    """Tell what the bundle's methods did to the prompt of an answer, which was made while ``call`` held."""
    chat = one.order.prompts[one.index // one.order.n]
    if isinstance(chat, Chat) and (found := traces(bundle, chat, one.prompt, call)):
        emit(Did(found))


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
            return bundle.encoder.encode(prompt, add_generation_prompt=True, tools=order.tools)
        return _continued(bundle, prompt)
    except CannotRewrite as error:
        raise order.methods.refused(error.method, error) from None
    except ValueError as error:
        raise Refused(400, f"{where}: {error}", param=where) from None


def _continued(bundle: Bundle, prompt: str | list[int]) -> Encoded:
    if not isinstance(prompt, str):
        _require_tokens(bundle, prompt)
    return continuing(bundle, prompt)


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
