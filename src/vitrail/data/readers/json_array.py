"""One JSON array of rows, as LLaVA and LLaMA-Factory distribute them: read in pieces, with random access.

A piece of the file is decoded only to find where a row ends; the row itself is parsed like a line of JSON lines. So
memory is that of the longest row, and a mistake is named by its row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from vitrail.data.readers.json_text import parse_line
from vitrail.data.readers.jsonl import TextSource, byte_order_mark
from vitrail.data.readers.row_source import Place

_PIECE = 1 << 20
_SPACE = " \t\r\n"
_MARGIN = 16
"""A mistake this near to what was read so far may be a token that is cut in two."""


class JsonArraySource(TextSource):
    """The records of a JSON array.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``line_limit`` is the most bytes of a row. Where
    the array is broken off or no JSON, rows behind that place cannot be told apart: ValueError, whatever ``on_error``.
    """

    container = "json array"

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        with open(self.path, "rb") as file:
            pieces = _Pieces(file, self._limit, str(self.path))
            for number, (start, raw) in enumerate(pieces.rows(), start=1):
                yield (start, len(raw), number), partial(parse_line, raw)
            self._hash = pieces.digest.hexdigest()


class _Pieces:
    """The rows of an array as byte offsets and bytes, from a window that moves over the file."""

    def __init__(self, file: BinaryIO, limit: int, name: str):
        self.file, self.limit, self.name = file, limit, name
        self.digest = hashlib.sha256()
        # Latin-1 gives a character a byte, and JSON's own signs are ASCII: offsets in the text are offsets in the file.
        self.text, self.start, self.ended, self.row = "", 0, False, 0
        self._decode = json.JSONDecoder().raw_decode

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Each row's place and bytes."""
        self._more()
        head = self.text.encode("latin-1")[:4]
        place = self._skip(byte_order_mark(head, self.file.name))  # type: ignore[arg-type]
        if self.text[place : place + 1] != "[":
            raise ValueError(f"{self.name} is not a JSON array of rows.")
        place = self._skip(place + 1)
        if self.text[place : place + 1] != "]":
            while True:
                self.row += 1
                place = self._forget(place)
                end = self._end(place)
                yield self.start + place, self.text[place:end].encode("latin-1")
                place = self._skip(end)
                sign = self.text[place : place + 1]
                if sign == "]":
                    break
                if sign != ",":
                    raise self._broken(place, "a comma or the closing bracket is missing" if sign else None)
                place = self._skip(place + 1)
        place = self._skip(place + 1)
        if place < len(self.text):
            raise self._broken(place, "something stands behind the array's closing bracket")

    def _more(self) -> bool:
        raw = self.file.read(max(_PIECE, len(self.text)))
        self.digest.update(raw)
        self.text += raw.decode("latin-1")
        self.ended = not raw
        return bool(raw)

    def _forget(self, place: int) -> int:
        if place < _PIECE:
            return place
        self.start += place
        self.text = self.text[place:]
        return 0

    def _skip(self, place: int) -> int:
        """The place of the next sign that is no space."""
        while True:
            while place < len(self.text) and self.text[place] in _SPACE:
                place += 1
            if place < len(self.text) or not self._more():
                return place

    def _end(self, place: int) -> int:
        """Where the row that begins at ``place`` ends."""
        while True:
            try:
                _, end = self._decode(self.text, place)
                if end < len(self.text) or self.ended:
                    return end
                why = None
            except json.JSONDecodeError as error:
                margin = 0 if self.ended else _MARGIN
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text.rstrip()) - margin
                if self.ended or not cut:
                    raise self._broken(error.pos, None if cut else error.msg) from None
                why = error.msg
            except RecursionError:
                raise self._broken(place, "the row is nested too deeply to be read; flatten it") from None
            except ValueError as error:  # a number of thousands of digits
                raise self._broken(place, str(error)) from None
            if len(self.text) - place > self.limit:
                raise self._broken(place, why or f"the row is longer than {self.limit:,} bytes")
            self._more()

    def _broken(self, place: int, why: str | None) -> ValueError:
        if why is None:
            why = "the file ends inside the array: it was cut off; copy it again"
        return ValueError(f"{self.name}, row {self.row}, byte {self.start + place + 1}: {why}.")
