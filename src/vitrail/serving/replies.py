"""Events as OpenAI's answers: whole, or as the pieces of a stream."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitrail.inference.completion import UNFINISHED, Completion, Piece, Token
from vitrail.serving.orders import Begun, Delta, Did, Echo, Ended, Event
from vitrail.serving.tool_calls import Watch, read

REASONS = {"stop": "stop", "length": "length", "cancelled": "stop"}


@dataclass(frozen=True)
class Words:
    """A tokenizer's tokens as texts."""

    tokenizer: Any

    def text(self, token: int) -> str:
        """A token's text; ``token_id:N`` where it is no whole character by itself, so that no two are alike."""
        text: str = self.tokenizer.decode([token], skip_special_tokens=False)
        return f"token_id:{token}" if UNFINISHED in text else text

    def bytes(self, token: int) -> list[int] | None:
        """A token's bytes; None where it is no whole character."""
        text: str = self.tokenizer.decode([token], skip_special_tokens=False)
        return None if UNFINISHED in text else list(text.encode())


@dataclass
class Reply:
    """What is common to an answer and its pieces: id, time, model; the tokens counted so far, and what methods did."""

    model: str
    words: Words
    top: int | None = None
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    prompt_tokens: int = 0
    completion_tokens: int = 0
    did: dict[str, Any] = field(default_factory=dict)

    prefix = "reply"
    whole = piece = ""

    def __post_init__(self) -> None:
        self.id = self.id or f"{self.prefix}-{secrets.token_hex(12)}"

    def count(self, event: Event) -> None:
        """Add an event's tokens to the usage; keep what methods did."""
        if isinstance(event, Begun):
            self.prompt_tokens = event.tokens
        elif isinstance(event, Ended):
            self.completion_tokens += event.completion.made
        elif isinstance(event, Did):
            self.did = {"methods": event.methods}

    def usage(self) -> dict[str, int]:
        """Tokens of prompts and answers."""
        made = self.completion_tokens
        total = self.prompt_tokens + made
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": made, "total_tokens": total}

    def answer(self, events: Iterable[Event]) -> dict[str, Any]:
        """The whole answer, of all its events."""
        echoes: dict[int, tuple[Token, ...]] = {}
        ended: dict[int, Completion] = {}
        for event in events:
            self.count(event)
            if isinstance(event, Echo):
                echoes[event.index] = event.tokens
            elif isinstance(event, Ended):
                ended[event.index] = event.completion
        choices = [
            {
                "index": index,
                "finish_reason": REASONS[one.reason],
                **self._choice(one, echoes.get(index, ())),
            }
            for index, one in sorted(ended.items())
        ]
        return {**self._head(self.whole), "choices": choices, "usage": self.usage(), **self.did}

    def pieces(self, event: Event) -> list[dict[str, Any]]:
        """The pieces of a stream that an event brings; what methods did goes with the end of the first choice."""
        self.count(event)
        if isinstance(event, Delta) and (event.piece.text or self.top is not None):
            return [self._piece(event.index, self._said(event.index, event.piece))]
        if isinstance(event, Ended):
            *before, last = self._ending(event.index, REASONS[event.completion.reason])
            did, self.did = self.did, {}
            return [*before, {**last, **did}]
        return []

    def _ending(self, index: int, reason: str) -> list[dict[str, Any]]:
        return [self._piece(index, self._last(), reason)]

    def opening(self, choices: int) -> list[dict[str, Any]]:
        """Pieces in front of all others."""
        return []

    def closing(self) -> dict[str, Any]:
        """The piece that tells the usage."""
        return {**self._head(self.piece), "choices": [], "usage": self.usage()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _piece(self, index: int, said: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, **said, "finish_reason": reason}
        return {**self._head(self.piece), "choices": [choice]}

    def _choice(self, completion: Completion, echo: tuple[Token, ...]) -> dict[str, Any]:
        raise NotImplementedError

    def _said(self, index: int, piece: Piece) -> dict[str, Any]:
        raise NotImplementedError

    def _last(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass
class ChatReply(Reply):
    """Of ``/v1/chat/completions``; ``calls``: calls of tools are read off the text."""

    calls: bool = False

    prefix, whole, piece = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._watches: defaultdict[int, Watch] = defaultdict(Watch)

    def opening(self, choices: int) -> list[dict[str, Any]]:
        """The role of each choice."""
        return [
            self._piece(index, {"delta": {"role": "assistant", "content": ""}, "logprobs": None})
            for index in range(choices)
        ]

    def pieces(self, event: Event) -> list[dict[str, Any]]:
        """As of any reply; text that may become a call is held back."""
        if self.calls and isinstance(event, Delta):
            text = self._watches[event.index].grow(event.piece.text)
            event = Delta(event.index, Piece(text, event.piece.tokens))
        return super().pieces(event)

    def _ending(self, index: int, reason: str) -> list[dict[str, Any]]:
        if not self.calls:
            return super()._ending(index, reason)
        text, called = self._watches[index].end()
        deltas: list[dict[str, Any]] = [{"content": text}] if text else []
        deltas += [{"tool_calls": [{"index": n, **one.body()}]} for n, one in enumerate(called)]
        told = [self._piece(index, {"delta": delta, "logprobs": None}) for delta in deltas]
        return [*told, *super()._ending(index, "tool_calls" if called else reason)]

    def _choice(self, completion: Completion, echo: tuple[Token, ...]) -> dict[str, Any]:
        text, called = read(completion.text) if self.calls else (completion.text, [])
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        choice: dict[str, Any] = {"message": message, "logprobs": self._logprobs(completion.tokens)}
        if called:
            message |= {"content": text or None, "tool_calls": [one.body() for one in called]}
            choice["finish_reason"] = "tool_calls"
        return choice

    def _said(self, index: int, piece: Piece) -> dict[str, Any]:
        return {"delta": {"content": piece.text}, "logprobs": self._logprobs(piece.tokens)}

    def _last(self) -> dict[str, Any]:
        return {"delta": {}, "logprobs": None}

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.top is None:
            return None
        content = [
            {
                **self._one(one.id, one.logprob or 0.0),
                "top_logprobs": [self._one(*likely) for likely in one.top],
            }
            for one in tokens
        ]
        return {"content": content, "refusal": None}

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        return {
            "token": self.words.text(token),
            "logprob": _number(logprob),
            "bytes": self.words.bytes(token),
        }


class TextReply(Reply):
    """Of ``/v1/completions``."""

    prefix, whole, piece = "cmpl", "text_completion", "text_completion"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._offsets: dict[int, int] = {}  # how long the text of each choice is so far

    def _choice(self, completion: Completion, echo: tuple[Token, ...]) -> dict[str, Any]:
        before = self.words.tokenizer.decode([one.id for one in echo], skip_special_tokens=True)
        tokens = (*echo, *completion.tokens)
        return {"text": before + completion.text, "logprobs": self._logprobs(tokens, 0)}

    def _said(self, index: int, piece: Piece) -> dict[str, Any]:
        begin = self._offsets.get(index, 0)
        self._offsets[index] = begin + len(piece.text)
        return {"text": piece.text, "logprobs": self._logprobs(piece.tokens, begin)}

    def _last(self) -> dict[str, Any]:
        return {"text": "", "logprobs": None}

    def _logprobs(self, tokens: Sequence[Token], begin: int) -> dict[str, Any] | None:
        if self.top is None:
            return None
        texts = [self.words.text(one.id) for one in tokens]
        offsets, place = [], begin
        for text in texts:
            offsets.append(place)
            place += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [None if one.logprob is None else _number(one.logprob) for one in tokens],
            "top_logprobs": [self._likely(one) for one in tokens],
            "text_offset": offsets,
        }

    def _likely(self, token: Token) -> dict[str, float] | None:
        if token.logprob is None:
            return None
        likely = {self.words.text(one): _number(value) for one, value in reversed(token.top)}
        return dict(reversed(likely.items()))


def _number(logprob: float) -> float:
    """JSON has no infinity; OpenAI writes −9999 for what is impossible."""
    return max(logprob, -9999.0)
