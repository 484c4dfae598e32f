"""The rows of a benchmark's files, whichever container they are distributed in.

A JSON list, or an object that holds it under one name (``{"questions": [...]}``); JSON lines; Parquet shards of a
Hugging Face mirror; a TSV as VLMEvalKit distributes it. Pictures inside rows (Parquet's ``{bytes, path}``, base64 in
a TSV) stay on disk until they are asked for.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from vitrail.data.readers.problems import FieldError, shown
from vitrail.storage.cache import file_digest, key

PICTURES = ("image", "images", "image_path")
"""Columns that may hold pictures; of a row's fields those with bytes in them are left out."""
SHORT = 64
"""A TSV's picture shorter than this is the index of the row that holds it."""


class Table:
    """Rows of one file, or of several shards, in their order.

    ``word`` says what :meth:`line` counts; ``digest`` is a hash of the files' bytes.
    """

    word = "row"

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    @property
    def name(self) -> str:
        """For messages."""
        return self.files[0].name if len(self.files) == 1 else self.files[0].parent.name

    @cached_property
    def digest(self) -> str:
        """A hash of the files' bytes."""
        return key(*(file_digest(file) for file in self.files))

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | FieldError]]:
        """Each row's line, from 1, and its fields without pictures' bytes, or why it cannot be read."""
        raise NotImplementedError

    def stored(self, line: int) -> int:
        """How many pictures the row itself holds; they may turn out to be unreadable."""
        return 0

    def pictures(self, line: int) -> list[bytes]:
        """The encoded pictures that the row itself holds. :class:`FieldError` for one without content."""
        return []


class JsonTable(Table):
    """A JSON list of objects, or an object with one list of objects; or JSON lines."""

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | FieldError]]:
        """See :class:`Table`."""
        for line, row in enumerate(self._loaded(), start=1):
            if isinstance(row, (FieldError, dict)):
                yield line, row
            else:
                yield line, FieldError("", f"must be an object with fields, but it is {shown(row)}")

    def _loaded(self) -> list[Any]:
        file = self.files[0]
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from None
        if file.suffix.lower() in (".jsonl", ".ndjson"):
            return json_lines(text)
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is not JSON: {error}; copy the file again") from None
        if isinstance(whole, list):
            return whole
        lists = (
            [name for name, value in whole.items() if isinstance(value, list)]
            if isinstance(whole, dict)
            else []
        )
        if len(lists) != 1:
            raise ValueError(
                f"{file} must hold a list of questions, or an object with one such list; it has {shown(lists or whole)}"
            )
        return list(whole[lists[0]])


class LinesTable(JsonTable):
    """JSON lines, whatever the file's ending; a list of objects is read as well."""

    def _loaded(self) -> list[Any]:
        text = self.files[0].read_text(encoding="utf-8-sig")
        return super()._loaded() if text.lstrip().startswith("[") else json_lines(text)


def json_lines(text: str) -> list[Any]:
    """The objects of JSON lines; :class:`FieldError` in place of a line that is none."""
    return [_line(line) for line in text.splitlines() if line.strip()]


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        return FieldError("", f"is not JSON: {error}")


class ParquetTable(Table):
    """Parquet shards, their pictures as ``{bytes, path}`` or a list of these."""

    def __init__(self, files: Sequence[Path]) -> None:
        from vitrail.data.readers.parquet import ParquetSource

        super().__init__(files)
        self._source = ParquetSource(self.files[0].parent, files=self.files, validate=False)

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | FieldError]]:
        """See :class:`Table`. Columns of pictures are not read."""
        import pyarrow.parquet as parquet

        from vitrail.data.readers.parquet import readable

        line = 0
        for file in self.files:
            with readable(file):
                reader = parquet.ParquetFile(file)
                light = [field.name for field in reader.schema_arrow if not _holds_bytes(field.type)]
                for batch in reader.iter_batches(columns=light):
                    for row in batch.to_pylist():
                        line += 1
                        yield line, row

    def stored(self, line: int) -> int:
        """See :class:`Table`."""
        return len(self._cells(line))

    def pictures(self, line: int) -> list[bytes]:
        """See :class:`Table`."""
        return [_bytes(cell) for cell in self._cells(line)]

    def _cells(self, line: int) -> list[Any]:
        row = self._source.row(line - 1)
        held = (row[name] for name in PICTURES if isinstance(row.get(name), (list, dict, bytes)))
        found: Any = next(held, [])
        return list(found) if isinstance(found, list) else [found]


def _holds_bytes(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    if pyarrow.types.is_struct(kind):
        return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _bytes(cell: Any) -> bytes:
    raw = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(raw, bytes) or not raw:
        raise FieldError("image", "holds no bytes; download the file again with its pictures")
    return raw


class TsvTable(Table):
    """VLMEvalKit's TSV: an ``index``, a question, options under ``A`` to ``D``, and a picture in base64."""

    word = "line"

    def __init__(self, files: Sequence[Path]) -> None:
        from vitrail.data.readers.delimited import DelimitedSource

        super().__init__(files)
        self._source = DelimitedSource(self.files[0], validate=False)
        self._places: dict[int, int] = {self._source.line(place): place for place in range(len(self._source))}
        self._by_index: dict[str, int] = {}

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | FieldError]]:
        """See :class:`Table`."""
        for line, place in self._places.items():
            try:
                row = self._source.row(place)
            except FieldError as error:
                yield line, error
                continue
            if "index" in row:
                self._by_index[str(row["index"])] = line
            yield line, {name: value for name, value in row.items() if name not in PICTURES}

    def stored(self, line: int) -> int:
        """See :class:`Table`."""
        return len(self._cells(line))

    def pictures(self, line: int) -> list[bytes]:
        """See :class:`Table`. A cell that is another row's index stands for that row's picture."""
        return [self._decoded(cell) for cell in self._cells(line)]

    def _cells(self, line: int) -> list[str]:
        row = self._source.row(self._places[line])
        cell: Any = next((row[name] for name in PICTURES if row.get(name)), [])
        return [str(one) for one in cell] if isinstance(cell, list) else [str(cell)]

    def _decoded(self, cell: str) -> bytes:
        if len(cell) < SHORT and cell in self._by_index:
            row = self._source.row(self._places[self._by_index[cell]])
            cell = next((str(row[name]) for name in PICTURES if row.get(name)), "")
        try:
            return base64.b64decode(cell, validate=True)
        except (binascii.Error, ValueError):
            raise FieldError("image", f"is no base64: {shown(cell)}; download the file again") from None


def open_table(path: Path) -> Table:
    """The table of a file, or of a folder of Parquet shards. ValueError for anything else."""
    if path.is_dir():
        shards = sorted(path.rglob("*.parquet"))
        if not shards:
            raise ValueError(f"{path} holds no .parquet file")
        return ParquetTable(shards)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    kinds: dict[str, type[Table]] = {
        ".parquet": ParquetTable, ".tsv": TsvTable, ".json": JsonTable, ".jsonl": JsonTable, ".ndjson": JsonTable,
    }  # fmt: skip
    if suffix not in kinds:
        raise ValueError(
            f"{path} is no .json, .jsonl, .tsv or .parquet file; give the benchmark's official one"
        )
    return kinds[suffix]([path])


def find_table(folder: Path, names: Sequence[str], what: str) -> Table:
    """The first of ``names`` (globs) below ``folder``, or ``folder`` itself where it is a file, or Parquet shards
    there.

    ValueError saying what was looked for.
    """
    if folder.is_file():
        return open_table(folder)
    if not folder.is_dir():
        raise ValueError(f"{what}: there is no folder {folder}; give the folder with the official files")
    for name in names:
        found = sorted(folder.glob(name))
        if len(found) > 1 and found[0].suffix == ".parquet":
            return ParquetTable(found)
        if found:
            return open_table(found[0])
    if any(folder.rglob("*.parquet")):
        return open_table(folder)
    raise ValueError(
        f"{what}: {folder} holds none of {', '.join(names)}; give the folder with the official files"
    )
