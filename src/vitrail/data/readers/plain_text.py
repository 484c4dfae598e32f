"""Texts to pretrain on: rows with a ``text`` and no media, and text files with a text a line.

Either becomes a document of that text. A literal newline inside a line's text cannot be written; JSON lines can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from vitrail.data.readers.columns import rest, text_of
from vitrail.data.readers.content import Row, without_nulls
from vitrail.data.readers.jsonl import LineReader, TextSource
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import Place
from vitrail.data.readers.subject import subject

TEXT = "text"
_MEDIA = ("image", "img", "picture", "photo", "pixel", "video", "audio")
"""In a column's name: it holds a medium, whose text is no text alone."""


class PlainText:
    """A text alone."""

    name = "text"

    def recognises(self, row: Row) -> bool:  # noqa: D102
        return TEXT in row and "kind" not in row and subject(row) is None

    def payload(self, row: Row) -> Row:  # noqa: D102
        row = without_nulls(row)
        text = text_of(row, TEXT)
        if not text.strip():
            raise FieldError(TEXT, "is empty; remove the row")
        media = next((name for name in row if any(word in name.lower() for word in _MEDIA)), None)
        if media is not None:
            raise FieldError(
                media, "would be lost: the row would be a text alone. Call it 'image', or move it into 'meta'"
            )
        parts = [{"type": "text", "text": text}]
        return {"kind": "document", "content": parts, **rest(row, (TEXT,))}


class TextLinesSource(TextSource):
    """The lines of a text file (``.txt``, UTF-8), each a document; blank lines are no records."""

    container = "text lines"
    word = "line"

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        reader = LineReader(self.path, self._limit)
        for line, start, raw in reader:
            yield (start, len(raw or b""), line), partial(self._line, raw)
        self.set_aside.blank_lines = reader.blank
        self._hash = reader.digest

    def _line(self, raw: bytes | None) -> Row:
        if raw is None:
            raise FieldError("", f"the line is longer than {self._limit:,} bytes; break it into several")
        try:
            return {TEXT: raw.decode("utf-8")}
        except UnicodeDecodeError as error:
            byte = raw[error.start : error.start + 1]
            raise FieldError(
                "", f"byte {error.start + 1} of the line ({byte!r}) is not UTF-8; convert it"
            ) from None

    def _load(self, place: Place) -> Any:
        return self._line(self._bytes(place))
