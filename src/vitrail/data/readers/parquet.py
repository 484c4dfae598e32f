"""Parquet in the layout of Hugging Face datasets: a ``messages`` column, pictures as ``{bytes, path}``."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrail.data.decoding import MAX_PIXELS
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import OnError, RowRules, note, to_record
from vitrail.data.records import Record
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import file_digest, key

CACHE_BYTES = 256_000_000
"""Row groups kept decoded, so that neighbouring records are read once."""


class ParquetSource(RandomAccess):
    """The records of a Parquet file, with random access by row group.

    Arguments, errors and ``set_aside`` as for :class:`vitrail.data.readers.jsonl.JsonlSource`; a row's
    number, from 1, stands for its line. A record costs the reading of its row group unless that one is among
    those kept, so files with small row groups (as :func:`vitrail.data.readers.write_parquet` makes) serve
    shuffled reading.
    """

    def __init__(
        self,
        path: Path | str,
        on_error: OnError = "raise",
        allow_outside: bool = False,
        check_images: bool = False,
        validate: bool = True,
        name: str | None = None,
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
        self._file: Any = None
        self._groups: OrderedDict[int, Any] = OrderedDict()
        metadata = self._opened().metadata
        self._ends: list[int] = []
        for group in range(metadata.num_row_groups):
            self._ends.append(metadata.row_group(group).num_rows + (self._ends[-1] if self._ends else 0))
        self._ours = (self._opened().schema_arrow.metadata or {}).get(b"vitrail") == b"chat-1"
        self._rows: range | list[int] = range(self._ends[-1] if self._ends else 0)
        if not self._rows:
            raise ValueError(f"{self.path} holds no rows.")
        if validate:
            self._rows = self._check()
        self.set_aside.used = len(self._rows)
        self.fingerprint = key("parquet", file_digest(self.path), [row.line for row in self.set_aside.rows])

    def _opened(self) -> Any:
        if self._file is None:
            import pyarrow
            import pyarrow.parquet as parquet

            try:
                self._file = parquet.ParquetFile(self.path, memory_map=True)
            except (pyarrow.ArrowException, OSError) as error:
                raise ValueError(f"{self.path} is not a Parquet file that can be read: {error}.") from None
        return self._file

    def _check(self) -> list[int]:
        good, number = [], 0
        for batch in self._opened().iter_batches(batch_size=64):
            for index in range(batch.num_rows):
                number += 1
                row = batch.slice(index, 1).to_pylist()[0]
                try:
                    to_record(self._restored(row), self.root, self._rules)
                    good.append(number - 1)
                except FieldError as error:
                    note(error, self.path, number, row, self._rules, self.set_aside)
        return good

    def __len__(self) -> int:
        return len(self._rows)

    def line(self, index: int) -> int:
        """The row of the file, from 1, that record ``index`` is."""
        return self._rows[index] + 1

    def _record(self, index: int) -> Record:
        place = self._rows[index]
        group = bisect_right(self._ends, place)
        start = self._ends[group - 1] if group else 0
        row = self._group(group).slice(place - start, 1).to_pylist()[0]
        try:
            return to_record(self._restored(row), self.root, self._rules_on_access)
        except FieldError as error:
            note(error, self.path, place + 1, row, self._rules_on_access, SetAside())
            raise

    def _group(self, group: int) -> Any:
        if group not in self._groups:
            self._groups[group] = self._opened().read_row_group(group)
            while (
                len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > CACHE_BYTES
            ):
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return self._groups[group]

    def _restored(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of our own layout with each part's ``data`` unpacked; a foreign row as it is."""
        if not self._ours:
            return row
        for messages in (row["messages"], row["rejected"]):
            for message in messages or ():
                message["content"] = [_unpacked(part) for part in message["content"]]
        if row["choices"]:
            row["choices"]["options"] = [[_unpacked(part) for part in o] for o in row["choices"]["options"]]
        return row

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_groups": OrderedDict()}


def _unpacked(part: dict[str, Any]) -> dict[str, Any]:
    data = part.pop("data")
    return {**part, **json.loads(data)} if data else part
