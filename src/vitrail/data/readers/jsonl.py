"""JSON lines: one record a line, read in constant memory with random access.

Opening passes over the file once: it finds where lines begin, checks every row, and hashes the bytes. A
record is then read from its place on disk when asked for, so that a file may be larger than the memory and
any number of workers can share it.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from vitrail.data.readers.json_text import parse_line
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import LINE_LIMIT, Place, RowSource


class TextSource(RowSource):
    """Rows that are a piece of a text file; a place is where it begins, its bytes, and its line or row number."""

    columns = 3

    def __init__(self, path: Path | str, *args: Any, line_limit: int = LINE_LIMIT, **options: Any):
        self._limit = line_limit
        self._handle: int | None = None
        self._hash = ""
        super().__init__(path, *args, **options)

    def _open(self) -> None:
        self._file_size = self.path.stat().st_size

    def _where(self, place: Place) -> tuple[str, int]:
        return self.path.name, place[2]

    def _digest(self) -> str:
        return self._hash

    def _bytes(self, place: Place) -> bytes:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(self._handle).st_size != self._file_size:
                raise ValueError(f"{self.path} was changed since it was opened; open it again.")
        return os.pread(self._handle, place[1], place[0])

    def _load(self, place: Place) -> Any:
        return parse_line(self._bytes(place))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            os.close(self._handle)  # type: ignore[arg-type]


class JsonlSource(TextSource):
    """The records of a file in JSON lines: UTF-8, any line ends, with or without a byte order mark.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``line_limit`` is the most bytes of a line.
    """

    container = "jsonl"
    word = "line"

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        reader = LineReader(self.path, self._limit)
        for line, start, raw in reader:
            yield (start, len(raw or b""), line), partial(self._parsed, raw)
        self.set_aside.blank_lines = reader.blank
        self._hash = reader.digest

    def _parsed(self, raw: bytes | None) -> Any:
        if raw is None:
            raise FieldError(
                "", f"the line is longer than {self._limit:,} bytes; store pictures as files beside it"
            )
        return parse_line(raw)


class LineReader:
    """Lines that are not blank: number from 1, byte offset, content without line end (None when too long)."""

    def __init__(self, path: Path, limit: int):
        self.path, self.limit, self.blank, self.digest = path, limit, 0, ""

    def __iter__(self) -> Iterator[tuple[int, int, bytes | None]]:
        digest = hashlib.sha256()
        with open(self.path, "rb") as file:
            offset, number = 0, 0
            while piece := file.readline(self.limit + 1):
                number += 1
                digest.update(piece)
                start, offset = offset, offset + len(piece)
                too_long = len(piece) > self.limit and not piece.endswith(b"\n")
                while too_long and not piece.endswith(b"\n") and (piece := file.readline(1 << 20)):
                    digest.update(piece)
                    offset += len(piece)
                if too_long:
                    yield number, start, None
                    continue
                if number == 1:
                    start += byte_order_mark(piece, self.path)
                raw = piece[start - offset + len(piece) :] if number == 1 else piece
                if raw.strip():
                    yield number, start, raw.rstrip(b"\r\n")
                else:
                    self.blank += 1
        self.digest = digest.hexdigest()


def byte_order_mark(head: bytes, path: Path) -> int:
    """The bytes of the UTF-8 mark that a file begins with. ValueError for UTF-16's and UTF-32's."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise ValueError(f"{path} is UTF-16 or UTF-32; save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
    return len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
