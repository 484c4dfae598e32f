"""One answer, token by token: its text as far as it is certain, stop strings, and what each token's chance was.

A server, or whoever shows an answer while it is made, needs what :func:`vitrail.inference.generation.generate` does not
give: pieces of text that later tokens cannot change, texts at which the answer ends, and log-probabilities. Tokens are
chosen as there, so that the two give the same answer; of tokens that are equally likely (within 1e-5) the first is
taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.inference.drawing import FirstOfEquals, drawing
from vitrail.inference.generation import GenerationSettings, end_tokens, generation_config, require_room
from vitrail.inference.inputs import evaluating, model_inputs

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.models.encoding import Encoded

Reason = Literal["stop", "length", "cancelled"]
CONTEXT = 32
"""Tokens in front of a new one that are decoded again."""
UNFINISHED = "\ufffd"
"""What tokens decode to whose bytes are not a whole character yet."""


@dataclass(frozen=True)
class Token:
    """A token, its log-probability (nats), and the ``top`` likeliest tokens at its place, the likeliest first.

    The probabilities are the model's own: before temperature, ``top_p`` and ``top_k``. None where none were asked for,
    or where there is none (a text's first token).
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """A further part of an answer: text that stays as it is, and the tokens since the last piece."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Completion:
    """An answer: text, tokens (without the one that ends the turn), why it ended, how many were made in all."""

    text: str
    tokens: tuple[Token, ...]
    reason: Reason
    made: int


def complete(
    bundle: Bundle,
    prompt: Encoded,
    settings: GenerationSettings,
    *,
    stop: Sequence[str] = (),
    top_logprobs: int | None = None,
    strip: bool = True,
    cancelled: threading.Event | None = None,
    emit: Callable[[Piece], None] | None = None,
) -> Completion:
    """The answer to a prompt.

    Args:
        bundle: the model and what feeds it.
        prompt: encoded; may hold the beginning of the answer.
        settings: of generation, without beams.
        stop: texts at the first of which the answer ends; they do not belong to it.
        top_logprobs: how many likely tokens to tell at each place (0: the chosen one's log-probability alone).
        strip: leave white space around the answer out, as ``generate`` does.
        cancelled: set by another thread to end the answer at the next token.
        emit: is called with each piece as soon as it is certain; the pieces' texts joined are the answer's.

    ValueError for beams, an empty stop text, or a prompt that does not fit with its answer.
    """
    if settings.num_beams > 1:
        raise ValueError(f"num_beams is {settings.num_beams}; an answer token by token has none, use 1")
    if "" in stop:
        raise ValueError("stop: an empty text ends every answer at once; remove it")
    require_room(bundle, prompt, settings)
    following = Following(bundle, stop=stop, strip=strip, top=top_logprobs, emit=emit)
    inputs = model_inputs(bundle.model, bundle.collator("left")([prompt]))
    with evaluating(bundle.model):
        bundle.model.generate(
            **inputs,
            generation_config=generation_config(bundle, settings),
            **_generating(following, cancelled, drawing([prompt], settings)),
        )
    return following.completion()


class GrowingText:
    """An answer's text as tokens arrive: what can no longer change is given out once.

    Held back are: the beginning of a character or of a stop text; with ``strip`` white space that may be the last.
    """

    def __init__(self, stop: Sequence[str] = (), strip: bool = True) -> None:
        self._stop, self._strip = tuple(stop), strip
        self.text, self.stopped = "", False

    def grow(self, whole: str, last: bool = False) -> str:
        """What ``whole``, the text of all tokens so far, adds; everything with ``last``, or behind a stop text."""
        places = [place for one in self._stop if (place := whole.find(one)) >= 0]
        if places:
            whole, self.stopped, last = whole[: min(places)], True, True
        certain = whole if last else self._certain(whole)
        if self._strip:
            certain = certain.strip()
        if not certain.startswith(self.text):  # a tokenizer that changes what it wrote before
            return ""
        new, self.text = certain[len(self.text) :], certain
        return new

    def _certain(self, whole: str) -> str:
        whole = whole.rstrip(UNFINISHED)
        longest = max((_overlap(whole, one) for one in self._stop), default=0)
        return whole[: len(whole) - longest]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest beginning of ``stop`` that ``text`` ends with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class Following:
    """Takes an answer's tokens in as they are chosen, with their log-probabilities, and says when it is over.

    Args:
        bundle: whose tokenizer and end tokens.
        stop, strip, emit: as :func:`complete` has them.
        top: how many likely tokens to tell at each place; None: no log-probabilities.

    ``logprobs`` are set before each :meth:`take`, where ``top`` asks for them; ``made`` counts tokens, the one that
    ends the answer included.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        stop: Sequence[str] = (),
        strip: bool = True,
        top: int | None = None,
        emit: Callable[[Piece], None] | None = None,
    ) -> None:
        self.top, self.made = top, 0
        self.logprobs: Float[Tensor, "vocab"] | None = None
        self._ends, self._emit, self._looks = set(end_tokens(bundle)), emit, bool(stop) or emit is not None
        self._text, self._decoding = GrowingText(stop, strip), GrowingDecoding(bundle.tokenizer)
        self._tokens: list[Token] = []
        self._told = 0
        self._reason: Reason | None = None

    def take(self, token: int) -> bool:
        """Take a token in; whether the answer is over."""
        if self._reason is None:
            self.made += 1
            if token in self._ends:
                self._reason = "stop"
                return True
            self._tokens.append(measured(token, self.logprobs, self.top))
            self._decoding.add(token)
            if self._looks:
                self._tell()
            if self._text.stopped:
                self._reason = "stop"
        return self._reason is not None

    def cancel(self) -> None:
        """It ends here, unless it has ended already."""
        self._reason = self._reason or "cancelled"

    def _tell(self, last: bool = False) -> None:
        new = self._text.grow(self._decoding.text(last), last)
        behind = self._told < len(self._tokens)
        if self._emit is not None and (new or ((last or self._text.stopped) and behind)):
            self._emit(Piece(new, tuple(self._tokens[self._told :])))
            self._told = len(self._tokens)

    def completion(self) -> Completion:
        """What came out."""
        if not self._text.stopped:
            self._tell(last=True)
        return Completion(self._text.text, tuple(self._tokens), self._reason or "length", self.made)


class GrowingDecoding:
    """The text of tokens that become more: of a long answer only the last tokens are decoded at each.

    A tokenizer writes a token by its neighbours, so that a few tokens in front are decoded again and their text is
    taken away; where it does not come out as it was, and at the end, everything is decoded.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._ids = tokenizer, list[int]()
        self._before, self._from, self._again = "", 0, ""

    def add(self, token: int) -> None:
        """One token more."""
        self._ids.append(token)

    def text(self, exactly: bool = False) -> str:
        """The text of all of them."""
        tail = self._decoded(self._ids if exactly else self._ids[self._from :])
        if exactly:
            return tail
        if not tail.startswith(self._again):
            self._before, self._from, self._again = "", 0, ""
            return self._decoded(self._ids)
        whole = self._before + tail[len(self._again) :]
        if len(self._ids) - self._from >= 2 * CONTEXT and not tail.endswith(UNFINISHED):
            self._from = len(self._ids) - CONTEXT
            self._before, self._again = whole, self._decoded(self._ids[self._from :])
        return whole

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


def _generating(following: Following, cancelled: threading.Event | None, draw: Any) -> dict[str, Any]:
    """What shows ``generate``'s tokens to ``following``, and ends it with it.

    They are shown to a stopping criterion: a streamer of transformers is told later, on some devices a step later.
    """
    from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

    def keep(input_ids: Tensor, scores: Float[Tensor, "1 vocab"]) -> Float[Tensor, "1 vocab"]:
        if following.top is not None:
            following.logprobs = scores[0].float().log_softmax(-1)
        return scores

    class Follow(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
            over = following.take(int(input_ids[0, -1]))
            if not over and cancelled is not None and cancelled.is_set():
                following.cancel()
                over = True
            return torch.full((len(input_ids),), over, dtype=torch.bool, device=input_ids.device)

    return {
        "logits_processor": LogitsProcessorList([keep, *(draw or [FirstOfEquals()])]),
        "stopping_criteria": StoppingCriteriaList([Follow()]),
    }


def measured(token: int, logprobs: Float[Tensor, "vocab"] | None, top: int | None) -> Token:
    """The token with its log-probability and the ``top`` likeliest ones in its place."""
    if logprobs is None or top is None:
        return Token(token)
    values, ids = logprobs.topk(min(top, logprobs.shape[-1])) if top else (logprobs[:0], logprobs[:0])
    likely = tuple((int(one), float(value)) for one, value in zip(ids, values, strict=True))
    return Token(token, float(logprobs[token]), likely)
