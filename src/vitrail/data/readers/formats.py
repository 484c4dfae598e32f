"""How the rows of a file become records: one class a format, found by looking at a row.

A format is registered under the seam ``"format"``. It has a ``name``, tells with ``recognises(row)`` whether
a row (a JSON object) is its own, and turns it with ``payload(row)`` into the fields of a record. No row may
be recognised by two formats.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from vitrail import registry
from vitrail.data.readers.problems import FieldError, shown

Row = dict[str, Any]


class RowFormat(Protocol):
    """One format of rows."""

    name: str

    def recognises(self, row: Row) -> bool:
        """Whether the row is in this format (it may still have mistakes)."""

    def payload(self, row: Row) -> Row:
        """The fields of a record, ``kind`` included; :class:`FieldError` for what cannot be one."""


registry.register("format", "chat", f"{__name__}:HuggingFaceChat", "Hugging Face chat messages")
registry.register("format", "record", f"{__name__}:VitrailRecord", "documents, groups, episodes")


def recognise(row: Row) -> RowFormat:
    """The format of a row; :class:`FieldError` when there is none, or more than one."""
    found = [form for form in _formats(tuple(registry.names("format"))) if form.recognises(row)]
    if len(found) == 1:
        return found[0]
    fields = ", ".join(sorted(row)) or "none"
    if not found:
        close = difflib.get_close_matches("messages", row, n=1, cutoff=0.7)
        hint = f"did you mean 'messages' by {close[0]!r}?" if close else "a chat row has 'messages'"
        known = ", ".join(registry.names("format"))
        raise FieldError("", f"no known format; {hint} (fields: {fields}; formats: {known})")
    raise FieldError("", f"the row could be {' or '.join(form.name for form in found)} (fields: {fields})")


@lru_cache(maxsize=8)
def _formats(names: tuple[str, ...]) -> list[RowFormat]:
    return [registry.get("format", name)() for name in names]


class VitrailRecord:
    """A document, group or episode, as vitrail writes it: its ``kind`` says which."""

    name = "record"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return "kind" in row and row["kind"] != "chat"

    def payload(self, row: Row) -> Row:  # noqa: D102
        known = ("chat", "document", "group", "episode")
        if row["kind"] not in known:
            raise FieldError("kind", f"{shown(row['kind'])} is unknown; known: {', '.join(known)}")
        return {name: value for name, value in row.items() if value is not None}


class HuggingFaceChat:
    """Chat messages as ``transformers`` and ``datasets`` have them.

    ``messages``: ``role`` and ``content``, the content a string or a list of typed parts. A picture is a part
    ``{"type": "image"}`` that carries it (``image``, ``path``, ``url``, ``base64`` or ``bytes``, or OpenAI's
    ``image_url``), or takes the next one of the row's ``images`` (or ``image``). When no part asks for the
    row's pictures, they stand before the text of the first user turn, as in TRL. A string is text, whatever
    it holds. ``videos`` and ``audios`` work as ``images`` does. Other columns go to ``meta``.
    """

    name = "chat"
    _fields = ("id", "kind", "messages", "rejected", "choices", "meta")
    _columns: ClassVar = {"image": "image", "images": "image", "videos": "video", "audios": "audio"}

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return "messages" in row and row.get("kind") in (None, "chat")

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = {name: value for name, value in row.items() if value is not None or name == "messages"}
        beside = _Beside(row, self._columns)
        out: Row = {"kind": "chat", "messages": _messages(row["messages"], "messages", beside)}
        if "rejected" in row:
            out["rejected"] = _messages(row["rejected"], "rejected", beside)
        if "choices" in row:
            out["choices"] = _choices(row["choices"], beside)
        beside.place_in(out["messages"])
        if "id" in row:
            out["id"] = str(row["id"]) if isinstance(row["id"], int) else row["id"]
        out["meta"] = self._meta(row)
        return out

    def _meta(self, row: Row) -> Any:
        meta = row.get("meta", {})
        if isinstance(meta, str):
            try:
                meta = json.loads(meta)
            except ValueError:
                raise FieldError("meta", f"is text that is no JSON: {shown(meta)}") from None
        others = {name: row[name] for name in row if name not in self._fields and name not in self._columns}
        for name in others:
            close = difflib.get_close_matches(name, (*self._fields, *self._columns), n=1, cutoff=0.8)
            if close:
                raise FieldError(name, f"did you mean {close[0]!r}? If not, move this column into 'meta'")
        clash = sorted(set(others) & set(meta)) if isinstance(meta, dict) else []
        if clash:
            raise FieldError(clash[0], "is both a column and in 'meta'; rename one")
        return {**meta, **others} if isinstance(meta, dict) else meta


class _Beside:
    """The media that a row carries beside its messages, handed out in order."""

    def __init__(self, row: Row, columns: dict[str, str]):
        self.given: dict[str, list[tuple[str, Any]]] = {}
        for column, kind in columns.items():
            values = row.get(column)
            if values is None:
                continue
            if self.given.get(kind):
                raise FieldError(column, f"the row has {column!r} and another column of its kind; keep one")
            values = values if isinstance(values, list) else [values]
            self.given[kind] = [
                (f"{column}[{n}]", value) for n, value in enumerate(values) if value is not None
            ]
        self.left: dict[str, Iterator[tuple[str, Any]]] = {
            kind: iter(self.given[kind]) for kind in self.given
        }
        self.asked: dict[str, int] = dict.fromkeys(self.given, 0)

    def next(self, kind: str, path: str) -> Row:
        """The next medium of ``kind``, for the part at ``path``."""
        self.asked[kind] = self.asked.get(kind, 0) + 1
        try:
            column, value = next(self.left[kind])
        except (KeyError, StopIteration):
            there = len(self.given.get(kind, []))
            raise FieldError(
                path, f"this {kind} has no path or bytes, and the row's {kind}s ({there} of them) are used up"
            ) from None
        return _origin(value, column)

    def place_in(self, messages: Any) -> None:
        """Put media that no part asked for before the first user turn's text."""
        unasked = [kind for kind, items in self.given.items() if items and not self.asked[kind]]
        for kind, items in self.given.items():
            if self.asked[kind] and self.asked[kind] != len(items):
                raise FieldError(
                    items[-1][0], f"the messages ask for {self.asked[kind]} of the row's {len(items)} {kind}s"
                )
        if not unasked:
            return
        users = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
        if not users:
            raise FieldError(self.given[unasked[0]][0][0], "there is no user turn that could show it")
        for message in messages:
            for kind in unasked:
                if isinstance(message, dict) and f"<{kind}>" in str(message.get("content")):
                    raise FieldError(
                        "messages",
                        f"'<{kind}>' in a text is text here; write the place of the {kind} as a part "
                        f'{{"type": "{kind}"}} of a list content',
                    )
        shown_first = [
            {"type": kind, **_origin(value, path)} for kind in unasked for path, value in self.given[kind]
        ]
        content = users[0].get("content")
        text = [{"type": "text", "text": content}] if isinstance(content, str) else content
        users[0]["content"] = shown_first + text if isinstance(text, list) else content


def _messages(messages: Any, path: str, beside: _Beside) -> Any:
    if not isinstance(messages, list):
        raise FieldError(path, f"must be a list of messages, but it is {shown(messages)}")
    return [_message(message, f"{path}[{n}]", beside) for n, message in enumerate(messages)]


def _message(message: Any, path: str, beside: _Beside) -> Any:
    if not isinstance(message, dict):
        raise FieldError(path, f"must be an object with 'role' and 'content', but it is {shown(message)}")
    out = {name: value for name, value in message.items() if value is not None}
    calls = out.pop("tool_calls", None)
    if "content" in out:
        out["content"] = _parts(out["content"], f"{path}.content", beside)
    if calls:
        content = out.get("content", [])
        text = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        calls = [_tool_call(call, f"{path}.tool_calls[{n}]") for n, call in enumerate(calls)]
        out["content"] = list(text) + calls
    return out


def _tool_call(call: Any, path: str) -> Row:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise FieldError(path, f"must be an object with 'name' and 'arguments', but it is {shown(call)}")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise FieldError(f"{path}.arguments", f"is text that is no JSON: {shown(arguments)}") from None
    part = {"type": "tool_call", "name": function.get("name"), "arguments": arguments}
    return {**part, "id": call["id"]} if call.get("id") is not None else part


def _choices(choices: Any, beside: _Beside) -> Any:
    if not isinstance(choices, dict):
        raise FieldError("choices", f"must be an object with 'options', but it is {shown(choices)}")
    out = {name: value for name, value in choices.items() if value is not None}
    if isinstance(out.get("options"), list):
        out["options"] = [_parts(o, f"choices.options[{n}]", beside) for n, o in enumerate(out["options"])]
    return out


def _parts(content: Any, path: str, beside: _Beside) -> Any:
    if not isinstance(content, list):
        return content
    return [_part(part, f"{path}[{n}]", beside) for n, part in enumerate(content)]


def _part(part: Any, path: str, beside: _Beside) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise FieldError(path, f"must be an object with a 'type', but it is {shown(part)}")
    part = {name: value for name, value in part.items() if value is not None}
    kind = part.get("type")
    if kind == "image_url":
        address = part.get("image_url")
        address = address.get("url") if isinstance(address, dict) else address
        return {"type": "image", **_origin(address, f"{path}.image_url")}
    if kind not in ("image", "video", "audio") or "frames" in part:
        return part
    origins = (kind, "path", "url", "base64", "bytes")
    rest = {name: value for name, value in part.items() if name not in origins}
    if kind in part:
        return {**rest, **_origin(part[kind], f"{path}.{kind}")}
    if "bytes" in part or "base64" in part:
        return {**rest, "bytes": part.get("bytes", part.get("base64"))}
    if "path" in part or "url" in part:
        return part
    return {**rest, **beside.next(kind, path)}


def _origin(value: Any, path: str) -> Row:
    """Where a medium is: a path, an address, a data URI, bytes, or datasets' ``{"bytes": …, "path": …}``."""
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
