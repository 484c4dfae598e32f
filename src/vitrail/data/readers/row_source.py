"""What every source of rows does: check each row once when it is opened, then read any of them from its place.

A container says where its rows are (:meth:`RowSource._rows`) and reads the row at a place (:meth:`RowSource._load`).
Places are a few whole numbers a row, so that a source of millions of rows fits into memory and can be sent to
worker processes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vitrail.data.decoding import MAX_PIXELS
from vitrail.data.media import media_of
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import OnError, RowRules, check_media, note, read_row
from vitrail.data.records import Record
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key

LINE_LIMIT = 100_000_000
"""Bytes of the longest row of text that is read."""

HASHED_BYTES = 1 << 20
"""A medium beside the file is hashed whole up to this many bytes; of a longer one the size, the first and the last
half of them."""

Place = tuple[int, ...]


class RowSource(RandomAccess):
    """The records of the rows of ``path``; relative paths of media are looked up in its folder.

    Args:
        path: the file or folder.
        on_error, allow_outside, check_images: see :class:`vitrail.data.readers.rows.RowRules`.
        validate: check every row now. Without, a bad row is found when it is asked for.
        name: how reports call the source; default the file's name.
        max_pixels: of a picture that is checked.
        root: where relative paths of media begin; default the file's folder.

    :class:`vitrail.data.readers.RecordError` for a bad row: file, line, field, reason. ``set_aside`` holds the
    counts, and the rows left out with ``on_error="set_aside"``; ``formats`` how many rows were in which format.
    """

    container: ClassVar[str]
    word: ClassVar[str] = "row"
    columns: ClassVar[int] = 1

    def __init__(
        self,
        path: Path | str,
        on_error: OnError = "raise",
        allow_outside: bool = False,
        check_images: bool = False,
        validate: bool = True,
        name: str | None = None,
        max_pixels: int = MAX_PIXELS,
        root: Path | str | None = None,
    ):
        if not validate and (on_error == "set_aside" or check_images):
            raise ValueError(
                "on_error='set_aside' and check_images=True need validate=True: rows are checked first."
            )
        self.path = Path(path)
        self.root: Path = Path(root) if root is not None else self._folder()
        if root is not None and not self.root.is_dir():
            raise ValueError(
                f"root is {str(root)!r}, which is no folder; give the folder that the paths begin in."
            )
        self.name = name or self.path.name
        self.set_aside = SetAside()
        self.formats: dict[str, int] = {}
        self._rules = RowRules(on_error, allow_outside, check_images, max_pixels)
        # Pictures were decoded when the file was opened; a record is asked for many times.
        self._rules_on_access = replace(self._rules, on_error="raise", check_images=False)
        self._places = [array("Q") for _ in range(self.columns)]
        self._fingerprint: str | None = None
        self._open()
        self._scan(validate)

    def _folder(self) -> Path:
        return self.path.parent

    def _open(self) -> None:
        """Find out what the container holds; ValueError when it cannot be read."""

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        """The place of every row, and a function that reads it (called at once, when ``read``)."""
        raise NotImplementedError

    def _load(self, place: Place) -> Any:
        """The row at a place; :class:`FieldError` when it cannot be read."""
        raise NotImplementedError

    def _where(self, place: Place) -> tuple[str, int]:
        """The file and the line or row number, from 1, of a place, for people."""
        raise NotImplementedError

    def _digest(self) -> str:
        """A hash of the container's bytes."""
        raise NotImplementedError

    def _finished(self, record: Record, place: Place, rules: RowRules) -> Record:
        """The record with its media checked, and fetched where the container holds them."""
        check_media(record, self.root, rules)
        return record

    def _scan(self, validate: bool) -> None:
        formats: Counter[str] = Counter()
        for place, load in self._rows(validate):
            if validate:
                row: Any = None
                try:
                    row = load()
                    record, form = read_row(row)
                    self._finished(record, place, self._rules)
                except FieldError as error:
                    note(error, (*self._where(place), self.word), row, self._rules, self.set_aside)
                    continue
                formats[form] += 1
            for column, number in zip(self._places, place, strict=True):
                column.append(number)
        self.formats = dict(sorted(formats.items()))
        self.set_aside.used = len(self)
        if not self.set_aside.seen:
            raise ValueError(f"{self.path} holds no rows.")

    def __len__(self) -> int:
        return len(self._places[0])

    def line(self, index: int) -> int:
        """The line or row of the file, from 1, that record ``index`` stands on."""
        return self._where(self._place(index))[1]

    def row(self, index: int) -> Any:
        """Row ``index`` as the file has it, before it is made a record. :class:`FieldError` if it cannot be read."""
        return self._load(self._place(index))

    def _place(self, index: int) -> Place:
        return tuple(column[index] for column in self._places)

    def _record(self, index: int) -> Record:
        place = self._place(index)
        row: Any = None
        try:
            row = self._load(place)
            return self._finished(read_row(row)[0], place, self._rules_on_access)
        except FieldError as error:
            note(error, (*self._where(place), self.word), row, self._rules_on_access, SetAside())
            raise

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A hash of the container's bytes, of which rows are used, and of the media beside it.

        Computed when it is first asked for, since it reads every medium (see :data:`HASHED_BYTES`).
        """
        if self._fingerprint is None:
            parts: list[Any] = [self._digest(), [row.line for row in self.set_aside.rows]]
            beside = self._media_digest()
            self._fingerprint = key(self.container, *parts, *([beside] if beside else []))
        return self._fingerprint

    def _media_digest(self) -> str | None:
        digest, seen = hashlib.sha256(), set()
        for record in self:
            for _, medium in media_of(record):
                if medium.path is not None and medium.path not in seen:
                    seen.add(medium.path)
                    digest.update(key(medium.path, media_bytes_digest(self.root / medium.path)).encode())
        return digest.hexdigest() if seen else None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__


def media_bytes_digest(path: Path) -> str:
    """A hash of a file's size and content (see :data:`HASHED_BYTES`); of a missing file, that it is missing."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(HASHED_BYTES)
            size = file.seek(0, 2)
            digest = hashlib.sha256(size.to_bytes(8, "big"))
            if size <= HASHED_BYTES:
                digest.update(head)
            else:
                digest.update(head[: HASHED_BYTES // 2])
                file.seek(-(HASHED_BYTES // 2), 2)
                digest.update(file.read(HASHED_BYTES // 2))
            return digest.hexdigest()
    except OSError:
        return "missing"
