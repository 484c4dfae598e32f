"""LLaMA-Factory's sharegpt rows: ``conversations`` (or ``messages``), ``images``, ``system``, ``tools``, answers.

Turns have ``from`` and ``value`` or ``role`` and ``content``; speakers are ``human``, ``gpt``, ``system``,
``observation`` and ``function_call``, or the role names. ``<image>``, ``<video>`` and ``<audio>`` in human turns are
the places of the row's media, and must be as many. ``chosen`` and ``rejected`` are two answers to the last turn;
``kto_tag: false`` gives the answer weight 0 and stays in ``meta``, as ``tools`` does.
"""

from __future__ import annotations

import json

from vitrail.data.readers import conversations, expressing
from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.chat import dialect
from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.llava import is_llava
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rap import is_rap
from vitrail.data.readers.subject import subject
from vitrail.data.readers.trl import unwanted
from vitrail.data.records import Chat, Media, Message, Text, ToolCall

_NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


class ShareGpt:
    """Conversations with media columns, a system text, tools, and answers to choose from."""

    name = "sharegpt"
    columns = ("conversations", "messages", "system", "chosen", "rejected", *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        if subject(row) == "messages":
            return dialect(row) == "sharegpt"
        return subject(row) == "conversations" and not is_llava(row) and not is_rap(row)

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        name = "conversations" if "conversations" in row else "messages"
        media = Beside(row)
        turns = conversations.turns(row.get(name), name, media)
        if row.get("system"):
            if turns and turns[0]["role"] == "system":
                raise FieldError("system", "the first turn is a system turn too; keep one")
            turns.insert(0, {"role": "system", "content": text_of(row, "system")})
        out: Row = {"kind": "chat", "messages": turns}
        if "chosen" in row or "rejected" in row:
            for field in ("chosen", "rejected"):
                if field not in row:
                    raise FieldError(field, "is missing; a preference row has 'chosen' and 'rejected'")
            turns += _answer(row["chosen"], "chosen", media)
            out["rejected"] = _answer(row["rejected"], "rejected", media)
        media.place_marked(turns, name, always=("image",))
        media.place_rest(turns, name)
        if row.get("kto_tag") is False:
            unwanted(turns)
        return {**out, **rest(row, self.columns)}

    def row(self, chat: Chat) -> Row:
        """The row of a chat; tool calls become ``function_call`` turns."""
        expressing.weights(chat.messages, lambda n, one: False)
        media: list[Media] = []
        turns = [_spoken(one, f"messages[{n}]", media) for n, one in enumerate(chat.messages)]
        out: Row = {"conversations": turns}
        if chat.rejected is not None:
            if len(chat.rejected) != 1 or len(turns) < 2:
                raise FieldError("rejected", "must be one turn against the last of several in this format")
            expressing.weights(chat.rejected, lambda n, one: False, "rejected")
            out = {"conversations": turns[:-1], "chosen": turns[-1]}
            out["rejected"] = _spoken(chat.rejected[0], "rejected[0]", media)
        out |= expressing.media_columns(media)
        return expressing.fields(chat, self.columns) | out


def _answer(value: object, path: str, media: Beside) -> list[Row]:
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if isinstance(value, list):
        return conversations.turns(value, path, media)
    return [conversations.turn(value, path, media)]


def _spoken(message: Message, path: str, media: list[Media]) -> Row:
    called = [part for part in message.content if isinstance(part, ToolCall)]
    if not called:
        return conversations.spoken(message, path, media, _NAMES, newline=False)
    if len(called) != len(message.content) or message.role != "assistant":
        what = (
            "a text beside a tool call" if any(isinstance(p, Text) for p in message.content) else "this turn"
        )
        raise FieldError(f"{path}.content", f"{what} has no place in this format")
    calls = [{"name": part.name, "arguments": part.arguments} for part in called]
    named = [n for n, part in enumerate(called) if part.id is not None]
    if named:
        raise FieldError(f"{path}.content[{named[0]}].id", "has no place in this format")
    return {
        "from": "function_call",
        "value": json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False),
    }
