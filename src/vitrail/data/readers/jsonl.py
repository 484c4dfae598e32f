"""JSON lines: one record a line, read in constant memory with random access.

Opening passes over the file once: it finds where lines begin, checks every row, and hashes the bytes. A
record is then read from its place on disk when asked for, so that a file may be larger than the memory and
any number of workers can share it.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrail.data.decoding import MAX_PIXELS
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.rows import OnError, RowRules, note, to_record
from vitrail.data.records import Record
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

LINE_LIMIT = 100_000_000
"""Bytes of the longest line that is taken for a row."""


class JsonlSource(RandomAccess):
    """The records of the file ``path`` in JSON lines; pictures' paths are relative to its folder.

    Args:
        path: the file, UTF-8, with any line ends, with or without a byte order mark.
        on_error, allow_outside, check_images: see :class:`vitrail.data.readers.rows.RowRules`.
        validate: check every row now. Without, a bad row is found when it is asked for.
        name: how reports call the source; default the file's name.

    :class:`vitrail.data.readers.RecordError` for a bad row: file, line, field, reason. ``set_aside`` holds
    the counts, and the rows left out with ``on_error="set_aside"``. The fingerprint covers the file's bytes
    and which rows are used; pictures in other files are not part of it.
    """

    def __init__(
        self,
        path: Path | str,
        on_error: OnError = "raise",
        allow_outside: bool = False,
        check_images: bool = False,
        validate: bool = True,
        name: str | None = None,
        line_limit: int = LINE_LIMIT,
        max_pixels: int = MAX_PIXELS,
    ):
        if not validate and (on_error == "set_aside" or check_images):
            raise ValueError(
                "on_error='set_aside' and check_images=True need validate=True: rows are checked first."
            )
        self.path = Path(path)
        self.root: Path = self.path.parent
        self.name = name or self.path.name
        self.set_aside = SetAside()
        self._rules = RowRules(on_error, allow_outside, check_images, max_pixels)
        # Pictures were decoded when the file was opened; a record is asked for many times.
        self._rules_on_access = replace(self._rules, on_error="raise", check_images=False)
        self._starts, self._sizes, self._lines = array("Q"), array("Q"), array("Q")
        self._handle: int | None = None
        self._scan(validate, line_limit)

    def _scan(self, validate: bool, limit: int) -> None:
        self._file_size = self.path.stat().st_size
        reader = _LineReader(self.path, limit)
        for line, start, raw in reader:
            row: Any = None
            try:
                if raw is None:
                    raise FieldError(
                        "", f"the line is longer than {limit:,} bytes; store pictures as files beside it"
                    )
                if validate:
                    row = parse_line(raw)
                    to_record(row, self.root, self._rules)
            except FieldError as error:
                note(error, self.path, line, row, self._rules, self.set_aside)
                continue
            self._starts.append(start)
            self._sizes.append(len(raw))
            self._lines.append(line)
        self.set_aside.used = len(self._starts)
        self.set_aside.blank_lines = reader.blank
        if not self.set_aside.seen:
            raise ValueError(f"{self.path} holds no rows.")
        self.fingerprint = key("jsonl", reader.digest, [row.line for row in self.set_aside.rows])

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, index: int) -> int:
        """The line of the file, from 1, that record ``index`` stands on."""
        return self._lines[index]

    def _record(self, index: int) -> Record:
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(self._handle).st_size != self._file_size:
                raise ValueError(f"{self.path} was changed since it was opened; open it again.")
        raw = os.pread(self._handle, self._sizes[index], self._starts[index])
        row: Any = None
        try:
            row = parse_line(raw)
            return to_record(row, self.root, self._rules_on_access)
        except FieldError as error:
            note(error, self.path, self._lines[index], row, self._rules_on_access, SetAside())
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            os.close(self._handle)  # type: ignore[arg-type]


class _LineReader:
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
                    start += self._byte_order_mark(piece)
                raw = piece[start - offset + len(piece) :] if number == 1 else piece
                if raw.strip():
                    yield number, start, raw.rstrip(b"\r\n")
                else:
                    self.blank += 1
        self.digest = digest.hexdigest()

    def _byte_order_mark(self, line: bytes) -> int:
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError(f"{self.path} is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
        return len(codecs.BOM_UTF8) if line.startswith(codecs.BOM_UTF8) else 0


def parse_line(raw: bytes) -> Any:
    """The JSON value of a line. :class:`FieldError` says where it is no UTF-8, no JSON, or ambiguous."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start : error.start + 1]
        raise FieldError(
            "", f"byte {error.start + 1} of the line ({byte!r}) is not UTF-8; convert it"
        ) from None
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except FieldError:
        raise
    except json.JSONDecodeError as error:
        near = shown(text[max(0, error.pos - 15) : error.pos + 15])
        raise FieldError("", f"not JSON: {error.msg} at character {error.pos + 1}, near {near}") from None
    except RecursionError:
        raise FieldError("", "the row is nested too deeply to be read") from None
    except ValueError as error:
        raise FieldError("", f"not JSON that can be read: {error}") from None
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            lone = error.object[error.start]
            raise FieldError("", f"the text holds half of a surrogate pair ({lone!r}); remove it") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldError(twice, "is there twice in one object; keep one")
    return value
