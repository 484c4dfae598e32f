"""Folders that Hugging Face datasets saved with ``save_to_disk``, and single Arrow files, read with pyarrow alone."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitrail.data.readers.parquet import one_row, readable
from vitrail.data.readers.row_source import Place, RowSource
from vitrail.storage.cache import file_digest, key


class ArrowSource(RowSource):
    """The records of Arrow files, mapped into memory.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``files`` are the folder's, in order.
    """

    container = "arrow"

    def __init__(self, path: Path | str, *args: Any, files: Sequence[Path], **options: Any):
        self._files = list(files)
        super().__init__(path, *args, **options)

    def _folder(self) -> Path:
        return self._files[0].parent

    def _open(self) -> None:
        self._tables: dict[int, Any] = {}
        self._ends: list[int] = []
        for number in range(len(self._files)):
            self._ends.append(self._table(number).num_rows + (self._ends[-1] if self._ends else 0))

    def _table(self, number: int) -> Any:
        if number not in self._tables:
            import pyarrow as pa

            file = self._files[number]
            with readable(file, "an Arrow file"):
                mapped = pa.memory_map(str(file))
                is_file = mapped.read(6) == b"ARROW1"
                mapped.seek(0)
                reader = pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)
                table = reader.read_all()
                # Offsets that lead out of the buffers would be followed: Arrow trusts its own files.
                table.validate(full=True)
            self._tables[number] = table
        return self._tables[number]

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        for place in range(self._ends[-1] if self._ends else 0):
            yield (place,), partial(self._load, (place,))

    def _load(self, place: Place) -> Any:
        number, row = self._split(place)
        return one_row(self._table(number).slice(row, 1))

    def _split(self, place: Place) -> tuple[int, int]:
        number = bisect_right(self._ends, place[0])
        return number, place[0] - (self._ends[number - 1] if number else 0)

    def _where(self, place: Place) -> tuple[str, int]:
        number, row = self._split(place)
        return self._files[number].name, row + 1

    def _digest(self) -> str:
        return key(*(file_digest(file) for file in self._files))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a folder of ``save_to_disk``, in the order of its ``state.json``."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        names = [entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / 'state.json'} does not name the data files ({error}).") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{folder / 'state.json'} names the file {name!r}, which is not in its folder.")
        if not (folder / name).is_file():
            raise ValueError(
                f"there is no file {folder / name}, which state.json names; copy the whole folder."
            )
    if not names:
        raise ValueError(f"{folder} holds no rows.")
    return [folder / name for name in names]
