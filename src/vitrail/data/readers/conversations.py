"""What LLaVA's and LLaMA-Factory's conversations share: turns with ``from`` and ``value``, markers in human turns."""

from __future__ import annotations

from typing import Any

from vitrail.data.readers import beside, content, expressing
from vitrail.data.readers.beside import Beside
from vitrail.data.readers.content import Row, json_text
from vitrail.data.readers.problems import FieldError, nearest, shown
from vitrail.data.records import Media, Message

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "tool_response": "tool",
    "function_call": "assistant",
    "function": "assistant",
    "tool_call": "assistant",
}
"""Names of speakers and their roles. ``function_call`` and ``tool_call`` turns hold calls as JSON text."""

CALLS = ("function_call", "function", "tool_call")


def turns(value: Any, path: str, media: Beside) -> list[Row]:
    """The messages of a list of turns, whichever of the usual names its fields have."""
    return [turn(one, place, media) for one, place in content.entries(value, path, "turns")]


def turn(value: Any, path: str, media: Beside) -> Row:
    """One turn: ``from`` and ``value``, or ``role`` and ``content``."""
    value = content.fields_of(value, path, "'from' and 'value'")
    speaker = _one_of(value, ("from", "role"), path)
    said = _one_of(value, ("value", "content"), path)
    name = value[speaker]
    if not isinstance(name, str) or name not in ROLES:
        raise FieldError(f"{path}.{speaker}", f"{shown(name)} is unknown; {nearest(str(name), [*ROLES])}")
    role, text = ROLES[name], value[said]
    if name in CALLS:
        text = calls(text, f"{path}.{said}")
    out: Row = {"role": role, "content": content.parts(text, f"{path}.{said}", media.take)}
    if not isinstance(out["content"], (str, list)):
        raise FieldError(f"{path}.{said}", f"must be text, but it is {shown(text)}")
    if value.get("weight") is not None:
        out["weight"] = value["weight"]
    if role == "assistant" and value.get("loss") is not None:
        out["weight"] = _loss(value["loss"], f"{path}.loss")
    unknown = sorted({*value} - {speaker, said, "weight", "loss", "tool_calls"})
    if unknown:
        raise FieldError(f"{path}.{unknown[0]}", f"is not a known field of a turn; known: {speaker}, {said}")
    if value.get("tool_calls"):
        return content.message({**out, "tool_calls": value["tool_calls"]}, path, media.take)
    return out


def _loss(value: Any, path: str) -> float:
    if not isinstance(value, (bool, int, float)):
        raise FieldError(path, f"must be true or false, but it is {shown(value)}")
    return float(value)


def _one_of(value: Row, names: tuple[str, str], path: str) -> str:
    there = [name for name in names if name in value]
    if len(there) != 1:
        why = (
            f"has {' and '.join(map(repr, there))}; keep one"
            if there
            else f"has neither {names[0]!r} nor {names[1]!r}"
        )
        raise FieldError(path, why)
    return there[0]


def calls(text: Any, path: str) -> list[Row]:
    """The tool calls that a turn holds as JSON text (one object, or a list)."""
    value = json_text(text, path) if isinstance(text, str) else text
    value = value if isinstance(value, list) else [value]
    return [content.tool_call(call, f"{path}[{n}]") for n, call in enumerate(value)]


def spoken(message: Message, path: str, media: list[Media], names: dict[str, str], newline: bool) -> Row:
    """The reverse: a message as ``{"from", "value"}``, its media as markers, added to ``media``."""
    speaker = names.get(message.role)
    if speaker is None:
        raise FieldError(f"{path}.role", f"{message.role!r} has no place in this format")
    asked = message.role == "user"
    dicts = expressing.as_dicts(message, path, media if asked else [])
    text, _ = beside.joined(dicts, f"{path}.content", newline, marked=asked)
    return {"from": speaker, "value": text}
