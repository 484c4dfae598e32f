"""Values of a row → the fields of typed content: parts, media, tool calls.

What a row says about a medium is a path, an address, a data URI, bytes, or datasets' ``{"bytes": …, "path": …}``.
Everything here raises :class:`FieldError` with the field's path in the row.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from vitrail.data.readers.problems import FieldError, shown

Row = dict[str, Any]

Take = Callable[[str, str], Row]
"""``(kind, path)`` → where the next medium of the row's columns is, for a part that carries none."""

MEDIA = ("image", "video", "audio")


def without_nulls(value: Row) -> Row:
    """The object without the fields that are null, which Arrow gives to every row that lacks them."""
    return {name: inner for name, inner in value.items() if inner is not None}


def entries(value: Any, path: str, what: str) -> list[tuple[Any, str]]:
    """Each entry of a list of ``what`` with its own path."""
    if not isinstance(value, list):
        raise FieldError(path, f"must be a list of {what}, but it is {shown(value)}")
    return [(one, f"{path}[{n}]") for n, one in enumerate(value)]


def fields_of(value: Any, path: str, expected: str) -> Row:
    """The fields of an object that are not null; ``expected`` names those that it should have."""
    if not isinstance(value, dict):
        raise FieldError(path, f"must be an object with {expected}, but it is {shown(value)}")
    return without_nulls(value)


def origin(value: Any, path: str) -> Row:
    """Where a medium is, as the fields of a record's part: ``path``, ``url`` or ``bytes``."""
    if isinstance(value, dict):
        if value.get("bytes") is not None:
            # datasets keeps the original file's name beside the bytes; the bytes are the picture.
            return {"bytes": value["bytes"]}
        found = {name: value[name] for name in ("path", "url") if value.get(name) is not None}
        if not found:
            raise FieldError(path, f"has neither 'bytes' nor 'path' nor 'url': {shown(value)}")
        return found
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value)}
    if not isinstance(value, str):
        raise FieldError(path, f"must be a path, bytes or an object with either, but it is {shown(value)}")
    if value.startswith(("http://", "https://")):
        return {"url": value}
    if value.startswith("data:"):
        head, comma, body = value.partition(",")
        try:
            if not comma or not head.endswith(";base64"):
                raise ValueError("only base64 data URIs are read")
            return {"bytes": base64.b64decode(body, validate=True)}
        except (ValueError, binascii.Error) as error:
            raise FieldError(path, f"the data URI cannot be read ({error}): {shown(value)}") from None
    return {"path": value.removeprefix("file://")}


def medium(kind: str, value: Any, path: str) -> Row:
    """A part of ``kind`` with its origin; a video may be the list of its frames."""
    if kind == "video" and isinstance(value, list):
        frames = [{"type": "image", **origin(frame, f"{path}[{n}]")} for n, frame in enumerate(value)]
        return {"type": "video", "frames": frames}
    return {"type": kind, **origin(value, path)}


def messages(value: Any, path: str, take: Take) -> list[Row]:
    """The messages of a list with ``role`` and ``content``, the content a string or a list of parts."""
    return [message(one, place, take) for one, place in entries(value, path, "messages")]


def message(value: Any, path: str, take: Take) -> Row:
    """One message; ``tool_calls`` become parts behind the content."""
    out = fields_of(value, path, "'role' and 'content'")
    calls = out.pop("tool_calls", None)
    if "content" in out:
        out["content"] = parts(out["content"], f"{path}.content", take)
    if calls:
        if not isinstance(calls, list):
            raise FieldError(f"{path}.tool_calls", f"must be a list of calls, but it is {shown(calls)}")
        content = out.get("content", [])
        text = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        if not isinstance(text, list):
            raise FieldError(f"{path}.content", f"must be a text or a list of parts, not {shown(text)}")
        called = [tool_call(call, f"{path}.tool_calls[{n}]") for n, call in enumerate(calls)]
        out["content"] = text + called
    return out


def tool_call(call: Any, path: str) -> Row:
    """A call as OpenAI writes it (``function``: ``name`` and ``arguments``), or ``name`` and ``arguments``."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise FieldError(path, f"must be an object with 'name' and 'arguments', but it is {shown(call)}")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = json_text(arguments, f"{path}.arguments")
    part = {"type": "tool_call", "name": function.get("name"), "arguments": arguments}
    return {**part, "id": call["id"]} if call.get("id") is not None else part


def json_text(text: str, path: str) -> Any:
    """The JSON value that a field holds as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FieldError(path, f"is text that is no JSON: {shown(text)}") from None


def parts(content: Any, path: str, take: Take) -> Any:
    """The parts of a list; anything else as it is (a string is one text, the rest is refused later)."""
    if not isinstance(content, list):
        return content
    return [part(one, f"{path}[{n}]", take) for n, one in enumerate(content)]


def part(value: Any, path: str, take: Take) -> Row:
    """One typed part, with its medium's origin found: in itself, or the next one of the row's columns."""
    if isinstance(value, str):
        return {"type": "text", "text": value}
    value = fields_of(value, path, "a 'type'")
    kind = value.get("type")
    if not isinstance(kind, str) or "frames" in value:
        return value
    if kind in _OPENAI:
        return _OPENAI[kind](value, path)
    if kind not in MEDIA:
        return value
    rest = {
        name: inner for name, inner in value.items() if name not in (kind, "path", "url", "base64", "bytes")
    }
    if kind in value:
        return {**rest, **medium(kind, value[kind], f"{path}.{kind}")}
    if "bytes" in value or "base64" in value:
        return {**rest, "bytes": value.get("bytes", value.get("base64"))}
    if "path" in value and "url" not in value:
        return {**rest, **origin(value["path"], f"{path}.path")}
    if "path" in value or "url" in value:
        return value
    return {**rest, **take(kind, path)}


def _image_url(value: Row, path: str) -> Row:
    address = value.get("image_url")
    address = address.get("url") if isinstance(address, dict) else address
    return {"type": "image", **origin(address, f"{path}.image_url")}


def _input_audio(value: Row, path: str) -> Row:
    sound = value.get("input_audio")
    if not isinstance(sound, dict) or not isinstance(sound.get("data"), str):
        raise FieldError(
            f"{path}.input_audio", f"must be an object with base64 'data', but it is {shown(sound)}"
        )
    return {"type": "audio", "bytes": sound["data"]}


def _refusal(value: Row, path: str) -> Row:
    return {"type": "text", "text": value.get("refusal")}


_OPENAI: dict[Any, Callable[[Row, str], Row]] = {
    "image_url": _image_url,
    "input_audio": _input_audio,
    "refusal": _refusal,
}
OPENAI_TYPES = tuple(_OPENAI)
"""Types of parts that only OpenAI's messages have."""
