"""Parquet, one file or a folder of shards, in the layout of Hugging Face datasets: pictures as ``{bytes, path}``."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitrail.data.readers.content import json_text
from vitrail.data.readers.problems import FieldError, shown
from vitrail.data.readers.row_source import Place, RowSource
from vitrail.storage.cache import file_digest, key

CACHE_BYTES = 256_000_000
"""Row groups kept decoded, so that neighbouring records are read once."""


class ParquetSource(RowSource):
    """The records of Parquet files, with random access by row group.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``files`` are the shards of the folder ``path``. A
    record costs the reading of its row group unless that one is among those kept, so files with small row groups (as
    :func:`vitrail.data.readers.write_parquet` makes) serve shuffled reading.
    """

    container = "parquet"

    def __init__(self, path: Path | str, *args: Any, files: Sequence[Path] | None = None, **options: Any):
        self._folder_of_shards = files is not None
        self._files = list(files) if files is not None else [Path(path)]
        super().__init__(path, *args, **options)

    def _folder(self) -> Path:
        return self._files[0].parent

    def _open(self) -> None:
        self._readers: dict[int, Any] = {}
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._ends: list[int] = []  # of the row groups, over all files
        self._group_of: list[tuple[int, int]] = []
        self._file_starts: list[int] = []
        self._ours: list[bool] = []
        total = 0
        for number, file in enumerate(self._files):
            reader = self._reader(number)
            names = [field.name for field in reader.schema_arrow]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{file} has the column {twice[0]!r} twice; keep one.")
            self._file_starts.append(total)
            self._ours.append((reader.schema_arrow.metadata or {}).get(b"vitrail") == b"chat-1")
            for group in range(reader.metadata.num_row_groups):
                total += reader.metadata.row_group(group).num_rows
                self._ends.append(total)
                self._group_of.append((number, group))

    def _reader(self, number: int) -> Any:
        if number not in self._readers:
            import pyarrow.parquet as parquet

            with readable(self._files[number]):
                self._readers[number] = parquet.ParquetFile(self._files[number], memory_map=True)
        return self._readers[number]

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        if not read:
            for place in range(self._ends[-1] if self._ends else 0):
                yield (place,), partial(self._load, (place,))
            return
        place = 0
        for number in range(len(self._files)):
            for batch in self._batches(number):
                for index in range(batch.num_rows):
                    row = batch.slice(index, 1)
                    yield (place,), partial(self._checked, row, number)
                    place += 1

    def _batches(self, number: int) -> Iterator[Any]:
        with readable(self._files[number]):
            yield from self._reader(number).iter_batches(batch_size=64)

    def _where(self, place: Place) -> tuple[str, int]:
        number = bisect_right(self._file_starts, place[0]) - 1
        return self._files[number].name, place[0] - self._file_starts[number] + 1

    def _digest(self) -> str:
        digests = [file_digest(file) for file in self._files]
        return key(*digests) if self._folder_of_shards else digests[0]

    def _load(self, place: Place) -> Any:
        which = bisect_right(self._ends, place[0])
        start = self._ends[which - 1] if which else 0
        number, group = self._group_of[which]
        return self._restored(one_row(self._group(number, group).slice(place[0] - start, 1)), number)

    def _group(self, number: int, group: int) -> Any:
        if (number, group) not in self._groups:
            with readable(self._files[number]):
                self._groups[number, group] = self._reader(number).read_row_group(group)
            while (
                len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > CACHE_BYTES
            ):
                self._groups.popitem(last=False)
        self._groups.move_to_end((number, group))
        return self._groups[number, group]

    def _checked(self, row: Any, number: int) -> dict[str, Any]:
        return self._restored(one_row(row), number)

    def _restored(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """A row of our own layout with each part's ``data`` unpacked; a foreign row as it is."""
        return restored(row) if self._ours[number] else row

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}, "_groups": OrderedDict()}


def one_row(row: Any) -> dict[str, Any]:
    """The one row of an Arrow batch or table as Python values."""
    try:
        found: list[dict[str, Any]] = row.to_pylist()
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        raise FieldError("", f"the row cannot be read: {str(error)[:200]}; write it again") from None
    return found[0]


def restored(row: dict[str, Any]) -> dict[str, Any]:
    """A row of :func:`vitrail.data.readers.writing.parquet_schema` with each part's ``data`` unpacked."""
    for name in ("messages", "rejected"):
        for message in row.get(name) or ():
            message["content"] = [_unpacked(part) for part in message.get("content") or ()]
    choices = row.get("choices")
    if choices:
        choices["options"] = [[_unpacked(part) for part in option] for option in choices.get("options") or ()]
    return row


def _unpacked(part: dict[str, Any]) -> dict[str, Any]:
    data = part.pop("data", None)
    if data is None:
        return part
    fields = json_text(data, "data") if isinstance(data, str) else None
    if not isinstance(fields, dict):
        raise FieldError("data", f"must be the JSON of an object, but it is {shown(data)}")
    return {**part, **fields}


class readable:
    """Turns what Arrow raises for a damaged file into a sentence that names it."""

    def __init__(self, file: Path, kind: str = "a Parquet file"):
        self.file, self.kind = file, kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import pyarrow

        if isinstance(error, (pyarrow.ArrowException, OSError, MemoryError)):
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise ValueError(f"{self.file} is not {self.kind} that can be read: {said}.") from None
