"""OpenAI's messages: ``image_url`` and ``input_audio`` parts, tool calls and results, fine-tuning's preferences.

The role ``developer`` is ``system``. What a message has beside role, content, calls and weight (``tool_call_id``,
``name``) stays in ``meta``, by message number. Preference rows (``input``, ``preferred_output``,
``non_preferred_output``) become a chat with a rejected answer.
"""

from __future__ import annotations

import json
from typing import Any

from vitrail.data.readers import content, expressing
from vitrail.data.readers.beside import COLUMNS, Beside
from vitrail.data.readers.chat import dialect
from vitrail.data.readers.columns import rest
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.subject import subject
from vitrail.data.records import Audio, Chat, Image, Media, Message, Text, ToolCall

BESIDE = ("tool_call_id", "name")
PREFERENCE = ("input", "preferred_output", "non_preferred_output")


class OpenAiMessages:
    """Messages of OpenAI's chat completions and fine-tuning."""

    name = "openai"
    columns = ("kind", "messages", "rejected", "choices", *COLUMNS)

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return dialect(row) == "openai" or subject(row) == "preferred_output"

    def payload(self, row: Row) -> Row:  # noqa: D102
        preference = subject(row) == "preferred_output"
        row = without_nulls(row)
        media = Beside(row)
        columns: tuple[str, ...] = self.columns
        better: list[Row] = []
        if preference:
            columns = (*columns, *PREFERENCE)
            asked = row.get("input")
            if not isinstance(asked, dict):
                raise FieldError("input", f"must be an object with 'messages', but it is {shown(asked)}")
            path, said, worse = "input.messages", asked.get("messages"), row.get("non_preferred_output")
            better = _messages(row.get("preferred_output"), "preferred_output", media)[0]
        else:
            path, said, worse = "messages", row.get("messages"), row.get("rejected")
        turns, beside = _messages(said, path, media)
        out: Row = {"kind": "chat", "messages": turns + better}
        if worse is not None:
            where = "non_preferred_output" if preference else "rejected"
            out["rejected"] = _messages(worse, where, media)[0]
        elif preference:
            raise FieldError("non_preferred_output", "is missing; add it")
        media.place_rest(turns, path)
        others = rest(row, columns)
        if beside:
            others["meta"] = {**others["meta"], **beside}
        return {**out, **others}

    def row(self, chat: Chat) -> Row:
        """The row of a chat: pictures and sounds as parts, weights 0 and 1 on assistants' turns."""
        beside = {name: chat.meta.get(f"message_{name}", {}) for name in BESIDE}
        whole = {one: value for one, value in chat.meta.items() if one.removeprefix("message_") not in BESIDE}
        plain = chat.model_copy(update={"meta": whole})
        expressing.weights(chat.messages, lambda n, one: one.role == "assistant" and one.weight == 0)
        turns = []
        for n, message in enumerate(chat.messages):
            extra = {name: values[str(n)] for name, values in beside.items() if str(n) in values}
            turns.append(_spoken(message, f"messages[{n}]") | extra)
        fields = expressing.fields(plain, (*self.columns, *PREFERENCE))
        if chat.rejected is None:
            return fields | {"messages": turns}
        expressing.weights(chat.rejected, lambda n, one: False, "rejected")
        worse = [_spoken(one, f"rejected[{n}]") for n, one in enumerate(chat.rejected)]
        better = {"input": {"messages": turns[:-1]}, "preferred_output": turns[-1:]}
        return fields | better | {"non_preferred_output": worse}


def _messages(value: Any, path: str, media: Beside) -> tuple[list[Row], Row]:
    turns = content.messages(value, path, media.take)
    beside: Row = {}
    for n, turn in enumerate(turns):
        if turn.get("role") == "developer":
            turn["role"] = "system"
        for name in BESIDE:
            if name in turn:
                beside.setdefault(f"message_{name}", {})[str(n)] = turn.pop(name)
        called = turn.pop("function_call", None)
        if called is not None:
            said = turn.get("content") or []
            said = [{"type": "text", "text": said}] if isinstance(said, str) else said
            turn["content"] = [*said, content.tool_call(called, f"{path}[{n}].function_call")]
        refusal = turn.pop("refusal", None)
        if refusal is not None and not turn.get("content"):
            turn["content"] = refusal
        if turn.get("role") == "function":
            turn["role"] = "tool"
    return turns, beside


def _spoken(message: Message, path: str) -> Row:
    parts: list[Row] = []
    calls: list[Row] = []
    for n, part in enumerate(message.content):
        here = f"{path}.content[{n}]"
        if isinstance(part, ToolCall):
            function = {"name": part.name, "arguments": json.dumps(part.arguments, ensure_ascii=False)}
            calls.append(
                {"type": "function", "function": function} | ({"id": part.id} if part.id is not None else {})
            )
        elif calls:
            raise FieldError(here, "stands behind a tool call, and calls come last in this format")
        elif isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, Media):
            parts.append(_medium(part, here))
        else:
            raise FieldError(here, f"a {part.type} part has no place in this format")
    alone = len(parts) == 1 and parts[0]["type"] == "text"
    row: Row = {"role": message.role, "content": parts[0]["text"] if alone else parts}
    row |= {"tool_calls": calls} if calls else {}
    return row | ({"weight": 0} if message.weight == 0 else {})


def _medium(part: Media, path: str) -> Row:
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": expressing.location(part)}}
    if isinstance(part, Audio) and part.bytes is not None and part.sampling_rate is None:
        import base64

        data = base64.b64encode(part.bytes).decode("ascii")
        kind = "wav" if expressing.mime(part.bytes) == "audio/wav" else "mp3"
        return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
    raise FieldError(path, "only pictures, and sounds with their bytes, have a place in this format")
