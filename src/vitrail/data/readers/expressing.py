"""Records → what formats of other people's tools share: turns as typed parts, media columns, other columns.

A format's ``row(chat)`` is built from these. What a format has no place for is a :class:`FieldError` that names the
field, so that a file written is a file that reads back as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from vitrail.data.media import map_media
from vitrail.data.readers.content import MEDIA, Row
from vitrail.data.readers.problems import FieldError
from vitrail.data.records import Chat, Image, Media, Message, Record, Text, Video

_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


def canonical(record: Record) -> Record:
    """The record as other formats can hold it: texts beside each other joined, empty ones and sizes of pictures
    left out. Neither changes what a model sees.
    """

    def unsized(medium: Media) -> Media:
        if isinstance(medium, Image) and (medium.width or medium.height):
            return medium.model_copy(update={"width": None, "height": None})
        return medium

    record = map_media(record, unsized)
    if not isinstance(record, Chat):
        return record
    updates: Row = {"messages": tuple(map(_joined, record.messages))}
    if record.rejected is not None:
        updates["rejected"] = tuple(map(_joined, record.rejected))
    return record.model_copy(update=updates)


def _joined(message: Message) -> Message:
    parts: list[Any] = []
    for part in message.content:
        if isinstance(part, Text):
            if not part.text:
                continue
            if parts and isinstance(parts[-1], Text):
                parts[-1] = Text(text=parts[-1].text + part.text)
                continue
        parts.append(part)
    return message.model_copy(update={"content": tuple(parts)})


def mime(raw: bytes) -> str:
    """The media type of encoded bytes, by their first ones."""
    if raw[:4] == b"RIFF":
        return "audio/wav" if raw[8:12] == b"WAVE" else "image/webp"
    return next((kind for magic, kind in _MAGIC if raw.startswith(magic)), "application/octet-stream")


def location(medium: Media) -> Any:
    """A medium as a value of a media column: path, address, data URI, or the list of a video's frames."""
    if isinstance(medium, Video) and medium.frames is not None:
        return [location(frame) for frame in medium.frames]
    if medium.bytes is not None:
        return f"data:{mime(medium.bytes)};base64,{base64.b64encode(medium.bytes).decode('ascii')}"
    return medium.path if medium.path is not None else medium.url


def fields(record: Chat, taken: Collection[str], choices: bool = False) -> Row:
    """``id`` and ``meta`` as columns. :class:`FieldError` for a name that the format gives another meaning."""
    if record.choices is not None and not choices:
        raise FieldError("choices", "has no place in this format")
    clash = sorted({*taken, "id", "meta", "kind"} & {*record.meta})
    if clash:
        raise FieldError(f"meta.{clash[0]}", f"{clash[0]!r} means something else in this format; rename it")
    return ({"id": record.id} if record.id is not None else {}) | record.meta


def weights(
    messages: Iterable[Message], allowed: Callable[[int, Message], bool], path: str = "messages"
) -> None:
    """:class:`FieldError` for the first weight that is not 1 and not ``allowed(index, message)``."""
    for n, message in enumerate(messages):
        if message.weight != 1.0 and not allowed(n, message):
            raise FieldError(f"{path}[{n}].weight", f"{message.weight} has no place in this format")


def typed(messages: Sequence[Message], path: str, media: list[Media]) -> list[Row]:
    """Messages with typed parts; media are added to ``media`` and stand as ``{"type": "image"}``."""
    return [_typed(message, f"{path}[{n}]", media) for n, message in enumerate(messages)]


def _typed(message: Message, path: str, media: list[Media]) -> Row:
    parts: list[Row] = []
    calls: list[Row] = []
    for n, part in enumerate(message.content):
        here = f"{path}.content[{n}]"
        if part.type == "tool_call":
            call = {"name": part.name, "arguments": part.arguments}
            calls.append(
                {"type": "function", "function": call} | ({"id": part.id} if part.id is not None else {})
            )
        elif calls:
            raise FieldError(here, "stands behind a tool call, and calls come last in this format")
        elif isinstance(part, Media):
            media.append(part)
            _bare(part, here)
            parts.append({"type": part.type})  # type: ignore[attr-defined]
        elif isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        else:
            raise FieldError(here, f"a {part.type} part has no place in this format")
    row: Row = {"role": message.role, "content": parts}
    return row | ({"tool_calls": calls} if calls else {})


def _bare(medium: Media, path: str) -> None:
    for name in ("fps", "sampling_rate"):
        if getattr(medium, name, None) is not None:
            raise FieldError(f"{path}.{name}", "has no place in this format")


def media_columns(media: Sequence[Media]) -> Row:
    """``images``, ``videos`` and ``audios`` of a row, those that hold something."""
    out: Row = {}
    for kind in MEDIA:
        values = [location(medium) for medium in media if medium.type == kind]  # type: ignore[attr-defined]
        if values:
            out[f"{kind}s"] = values
    return out


def as_dicts(message: Message, path: str, media: list[Media]) -> list[Row]:
    """A message's parts as plain dicts for :func:`vitrail.data.readers.beside.joined`; media go to ``media``."""
    for n, part in enumerate(message.content):
        if isinstance(part, Media):
            _bare(part, f"{path}.content[{n}]")
            media.append(part)
    return [{"type": part.type, "text": getattr(part, "text", None)} for part in message.content]
