"""CSV and TSV with a header line. A cell that is empty is not there; lists and objects are cells of JSON text."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from vitrail.data.readers.json_text import parse_line
from vitrail.data.readers.jsonl import TextSource, byte_order_mark
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import Place

_LISTS = (
    "messages",
    "conversations",
    "conversation",
    "history",
    "images",
    "videos",
    "audios",
    "image",
    "options",
)
_STRUCTURED = (*_LISTS, "choices", "objects", "prompt", "completion", "chosen", "rejected", "meta", "tools")


class _Commas(csv.excel):
    strict = True


class _Tabs(_Commas):
    delimiter = "\t"


class DelimitedSource(TextSource):
    """The records of a table in text, ``,`` between cells, or tabs in a file called ``.tsv``.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``line_limit`` is the most bytes of a row.
    """

    container = "csv"
    word = "line"

    def _open(self) -> None:
        super()._open()
        self._dialect: type[csv.Dialect] = _Tabs if self.path.suffix.lower() == ".tsv" else _Commas
        # The limit is the process's, and its default is too short for a picture in base64.
        csv.field_size_limit(max(csv.field_size_limit(), self._limit))
        self._header: list[str] = []

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        lines = _Lines(self.path, self._limit)
        with lines:
            while True:
                start, line = lines.offset, lines.number + 1
                try:
                    cells = next(csv.reader(lines, self._dialect), None)
                except csv.Error as error:
                    yield (start, lines.offset - start, line), partial(_refuse, error)
                    continue
                except FieldError as error:
                    lines.skip_line()
                    yield (start, 0, line), partial(_raise, error)
                    continue
                if cells is None:
                    break
                if not self._header:
                    self._header = self._checked(cells)
                elif cells:
                    yield (start, lines.offset - start, line), partial(self._row, cells)
                else:
                    self.set_aside.blank_lines += 1
        self._hash = lines.digest.hexdigest()

    def _checked(self, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.path}, line 1: the column {twice[0]!r} is there twice; rename one.")
        return names

    def _load(self, place: Place) -> Any:
        try:
            text = self._bytes(place).decode("utf-8")
            cells = next(csv.reader(_lines(text), self._dialect))
        except (csv.Error, UnicodeDecodeError) as error:
            return _refuse(error)
        return self._row(cells)

    def _row(self, cells: list[str]) -> dict[str, Any]:
        if len(cells) != len(self._header):
            raise FieldError(
                "",
                f"has {len(cells)} cells, and the header {len(self._header)}; put cells with commas in quotes",
            )
        row: dict[str, Any] = {}
        for name, cell in zip(self._header, cells, strict=True):
            if cell == "":
                continue
            if name in _STRUCTURED and cell[:1] in "[{":
                try:
                    row[name] = parse_line(cell.encode())
                except FieldError as error:
                    raise FieldError(name, error.reason) from None
            else:
                row[name] = cell
        return row


def _lines(text: str) -> io.StringIO:
    """The lines of a row as the file has them: ended by line feeds alone, nothing translated."""
    return io.StringIO(text, newline="\n")


def _refuse(error: Exception) -> Any:
    raise FieldError("", f"is no row of a table: {error}; write it again") from None


def _raise(error: Exception) -> Any:
    raise error


class _Lines:
    """The file's lines as text, counting bytes, so that a row's place is known after the reader took its lines."""

    def __init__(self, path: Path, limit: int):
        self.path, self.limit = path, limit
        self.digest = hashlib.sha256()
        self.offset = self.number = 0

    def __enter__(self) -> _Lines:
        self.file = open(self.path, "rb")
        head = self.file.read(4)
        self.offset = byte_order_mark(head, self.path)
        self.digest.update(head[: self.offset])
        self.file.seek(self.offset)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self.file.readline(self.limit + 1)
        if not raw:
            raise StopIteration
        self._count(raw)
        if len(raw) > self.limit:
            raise FieldError(
                "", f"the line is longer than {self.limit:,} bytes; store pictures as files beside it"
            )
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FieldError("", f"byte {error.start + 1} of the line is not UTF-8; convert it") from None

    def _count(self, raw: bytes) -> None:
        self.digest.update(raw)
        self.offset += len(raw)
        self.number += raw.endswith(b"\n")
        self._whole = raw.endswith(b"\n")

    def skip_line(self) -> None:
        """Go on behind a line that was too long to be taken whole."""
        while not self._whole and (raw := self.file.readline(1 << 20)):
            self._count(raw)
