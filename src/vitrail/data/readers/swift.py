"""ms-swift's rows: ``messages`` with ``<image>`` in the text and media beside, or ``query`` and ``response``.

``<image>``, ``<video>`` and ``<audio>`` in users' turns are the places of the row's media and must be as many; without
any the media stand before the first question. LLaMA-Factory's rows with ``messages`` and ``images`` are the same.
``system``, ``history``, ``rejected_response``, ``rejected_messages``, a message's ``loss``, the roles ``tool_call`` and
``tool_response``, and ``objects`` (:mod:`vitrail.data.readers.grounding`) are read; ``label: false`` gives the answer
weight 0 and stays in ``meta``; ``tools`` go to ``meta``.
"""

from __future__ import annotations

import json
from typing import Any

from vitrail.data.readers import beside, conversations, expressing, grounding
from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.chat import dialect
from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject
from vitrail.data.readers.trl import unwanted
from vitrail.data.records import Chat, Media, Message, Points, Region, ToolCall

_WORDS = ("messages", "conversations", "query", "response", "history", "conversation", "system")


class SwiftMessages:
    """Messages or query and response, with markers for media and boxes."""

    name = "swift"
    columns = (*_WORDS, "rejected_response", "rejected_messages", "objects", *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        if subject(row) == "messages":
            return dialect(row) == "swift"
        return subject(row) in ("query", "conversation")

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        media = Beside(row)
        path, said = _said(row)
        turns = conversations.turns(said, path, media)
        if row.get("system"):
            if turns and turns[0]["role"] == "system":
                raise FieldError("system", "the first message is a system message too; keep one")
            turns.insert(0, {"role": "system", "content": text_of(row, "system")})
        out: Row = {"kind": "chat", "messages": turns}
        rejected = _rejected(row, said, media)
        if rejected is not None:
            out["rejected"] = rejected
        media.place_marked(turns, path)
        media.place_rest(turns, path)
        columns = {*self.columns}
        objects = row.get("objects")
        if isinstance(objects, dict) and any(grounding.TAG.search(str(turn["content"])) for turn in turns):
            if not grounding.place([*turns, *(rejected or ())], objects):
                columns.discard("objects")
        elif objects is not None:
            columns.discard("objects")
        if row.get("label") is False:
            unwanted(turns)
        return {**out, **rest(row, columns)}

    def row(self, chat: Chat) -> Row:
        """The row of a chat, its media and boxes as markers."""
        media: list[Media] = []
        boxes: list[tuple[list[float], int]] = []
        if chat.rejected is not None:
            expressing.weights(chat.rejected, lambda n, one: False, "rejected")
        silent = lambda n, one: one.role == "assistant" and one.weight == 0  # noqa: E731
        expressing.weights(chat.messages, silent)
        turns = [_spoken(one, f"messages[{n}]", media, boxes) for n, one in enumerate(chat.messages)]
        out: Row = {"messages": turns}
        if chat.rejected is not None:
            if len(chat.rejected) != 1 or chat.rejected[0].role != "assistant":
                raise FieldError("rejected", "must be one assistant turn in this format")
            out["rejected_response"] = _spoken(chat.rejected[0], "rejected[0]", media, boxes)["content"]
        out |= expressing.media_columns(media)
        if boxes:
            out["objects"] = {"ref": [], "bbox": [box for box, _ in boxes]}
            if any(image for _, image in boxes):
                out["objects"]["image_id"] = [image for _, image in boxes]
        return expressing.fields(chat, (*self.columns, "label")) | out


def _said(row: Row) -> tuple[str, Any]:
    """The turns of a row, whichever way it writes them, as ``role`` and ``content``."""
    if "messages" in row:
        return "messages", row["messages"]
    if "conversation" in row:
        rounds = row["conversation"]
        if not isinstance(rounds, list) or not all(isinstance(one, dict) for one in rounds):
            raise FieldError("conversation", f"must be a list of objects, but it is {shown(rounds)}")
        names = {"human": "user", "assistant": "assistant", "system": "system"}
        turns = [
            {"role": names.get(who, who), "content": text}
            for one in rounds
            for who, text in one.items()
            if text is not None
        ]
        return "conversation", turns
    turns = history(row.get("history", []), "history")
    turns.append({"role": "user", "content": text_of(row, "query")})
    if "response" in row:
        turns.append({"role": "assistant", "content": text_of(row, "response")})
    return "query", turns


def history(value: Any, path: str) -> list[Row]:
    """Earlier rounds: a list of pairs of question and answer."""
    turns: list[Row] = []
    if not isinstance(value, list):
        raise FieldError(path, f"must be a list of pairs, but it is {shown(value)}")
    for n, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise FieldError(f"{path}[{n}]", f"must be a question and its answer, but it is {shown(pair)}")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _rejected(row: Row, said: Any, media: Beside) -> list[Row] | None:
    if "rejected_response" in row:
        worse = row["rejected_response"]
        texts = worse if isinstance(worse, list) and worse else [worse]
        if len(texts) != 1 or not isinstance(texts[0], str):
            raise FieldError("rejected_response", f"must be one text, but it is {shown(worse)}")
        return [{"role": "assistant", "content": texts[0]}]
    if "rejected_messages" not in row:
        return None
    worse = row["rejected_messages"]
    if not isinstance(worse, list) or not isinstance(said, list):
        raise FieldError("rejected_messages", f"must be a list of messages, but it is {shown(worse)}")
    common = 0
    while common < min(len(worse), len(said) - 1) and worse[common] == said[common]:
        common += 1
    turns = conversations.turns(worse[common:], "rejected_messages", media)
    if not turns or turns[0]["role"] != "assistant":
        raise FieldError("rejected_messages", "must be the messages with another last answer")
    return turns


def _spoken(message: Message, path: str, media: list[Media], boxes: list[tuple[list[float], int]]) -> Row:
    calls = [part for part in message.content if isinstance(part, ToolCall)]
    if calls:
        if len(message.content) != 1 or calls[0].id is not None:
            raise FieldError(
                f"{path}.content", "a call beside others or with an id has no place in this format"
            )
        call = {"name": calls[0].name, "arguments": calls[0].arguments}
        return {"role": "tool_call", "content": json.dumps(call, ensure_ascii=False)}
    asked = message.role == "user"
    rows = expressing.as_dicts(message, path, media if asked else [])
    for n, part in enumerate(message.content):
        if isinstance(part, (Region, Points)):
            boxes.append(grounding.entry(part, f"{path}.content[{n}]"))
            rows[n] = {"type": "text", "text": "<bbox>"}
        elif rows[n]["type"] == "text" and grounding.TAG.search(rows[n]["text"]):
            raise FieldError(
                f"{path}.content[{n}]", "the text holds a tag for boxes that this format would read"
            )
    text, _ = beside.joined(rows, f"{path}.content", marked=asked)
    turn: Row = {"role": message.role, "content": text}
    return turn | ({"loss": False} if message.weight == 0 else {})
