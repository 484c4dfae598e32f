"""Documents → files that others read: Parquet with parallel lists (OBELICS, InfiMM-WebMath) or with a reading order.

OBELICS (Laurençon et al., arXiv 2306.16527) has ``texts`` and ``images`` of equal length, one of the two null at each
place; InfiMM-WebMath (arXiv 2409.12568) calls them ``text_list`` and ``image_list``. mOSCAR has lists of texts and
images with an index each, and their order in ``metadata``. Both are read back by
:func:`vitrail.data.readers.open_source`, as documents to train on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.curation import distributions
from vitrail.curation.counts import OperationCounts
from vitrail.curation.operations.operation import Outcome, language_of
from vitrail.curation.pipeline import OutputSettings
from vitrail.curation.steps import read_kept, size_of
from vitrail.data.readers.interleaved import (
    moscar_row,
    moscar_schema,
    obelics_row,
    obelics_schema,
    textbook_row,
    textbook_schema,
    webmath_row,
    webmath_schema,
)
from vitrail.data.records import Document
from vitrail.storage.cache import FolderCache

_GROUP_ROWS = 256
_GROUP_BYTES = 16_000_000
OUTPUT = "output"
DISTRIBUTIONS = "distributions.json"
UNKNOWN = "und"
"""The folder of documents whose language nobody looked for (ISO 639-3 "undetermined")."""


@dataclass(frozen=True)
class WriteTask:
    """Write the documents of the folder ``before``; relative pictures are below ``base``."""

    key: str
    cache: Path
    settings: OutputSettings
    before: Path
    base: Path


def write(task: WriteTask) -> None:
    """Make the folder of a task, unless it is there: a file for each language, or one."""
    FolderCache(task.cache).get_or_make(task.key, lambda folder: _write(task, folder))


def _write(task: WriteTask, folder: Path) -> None:
    writers: dict[str, Any] = {}
    counts = OperationCounts(OUTPUT)
    shapes: distributions.Distributions = {}
    try:
        for document in read_kept(task.before):
            language = (language_of(document) or UNKNOWN) if task.settings.by_language else "all"
            if language not in writers:
                kind = _Lines if task.settings.layout == "documents" else _Parquet
                writers[language] = kind(folder / _safe(language), task.settings.layout)
            try:
                writers[language].add(embedded(document, task.base))
            except (ValueError, FileNotFoundError) as error:
                counts.add_fault(document, "cannot be written", str(error))
                continue
            counts.add(document, Outcome(document))
            distributions.add(shapes, document)
    finally:
        for writer in writers.values():
            writer.close()
    text = json.dumps([counts.as_json()], ensure_ascii=False)
    (folder / "counts.json").write_bytes(text.encode("utf-8", "replace"))
    (folder / DISTRIBUTIONS).write_bytes(json.dumps(shapes, ensure_ascii=False).encode("utf-8", "replace"))


def _safe(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "_-" else "_" for sign in name)[:64]


class _Lines:
    def __init__(self, path: Path, layout: str) -> None:
        self.file = open(path.with_name(path.name + ".jsonl"), "wb")  # noqa: SIM115

    def add(self, document: Document) -> None:
        self.file.write(document.model_dump_json(exclude_none=True).encode() + b"\n")

    def close(self) -> None:
        self.file.close()


_LAYOUTS: dict[str, tuple[Any, Any]] = {
    "obelics": (obelics_row, obelics_schema),
    "webmath": (webmath_row, webmath_schema),
    "moscar": (moscar_row, moscar_schema),
    "textbook": (textbook_row, textbook_schema),
}


class _Parquet:
    def __init__(self, path: Path, layout: str) -> None:
        import pyarrow.parquet as parquet

        row, schema = _LAYOUTS[layout]
        self.row, self.schema = row, schema()
        self.writer = parquet.ParquetWriter(
            path.with_name(path.name + ".parquet"), self.schema, compression="zstd"
        )
        self.rows: list[dict[str, Any]] = []
        self.size = 0

    def add(self, document: Document) -> None:
        self.rows.append(self.row(document))
        self.size += sum(size_of(part) for part in document.content)
        if len(self.rows) >= _GROUP_ROWS or self.size >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self.rows:
            self.writer.write_table(pyarrow.Table.from_pylist(self.rows, schema=self.schema))
        self.rows, self.size = [], 0

    def close(self) -> None:
        self._flush()
        self.writer.close()


def embedded(document: Document, base: Path) -> Document:
    """The document with the bytes of its pictures that are files; addresses stay."""
    from vitrail.data.media import map_media

    def read(medium: Any) -> Any:
        if medium.path is None:
            return medium
        return medium.model_copy(update={"path": None, "bytes": medium.read(base)})

    return map_media(document, read)


def published(folders: Iterable[Path]) -> list[tuple[str, int, Path]]:
    """The files written: language or ``all``, number of the partition, path."""
    found = []
    for number, folder in enumerate(folders):
        files = sorted(path for path in folder.iterdir() if path.suffix in (".parquet", ".jsonl"))
        found += [(path.stem, number, path) for path in files]
    return found
