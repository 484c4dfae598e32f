"""Documents in any format that is read elsewhere; rows that are no documents are dropped, bad ones set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vitrail.curation.counts import OperationCounts
from vitrail.curation.pipeline import InputSettings
from vitrail.data.media import rebase
from vitrail.data.readers import open_source
from vitrail.data.records import Document


def read_records(
    path: Path, settings: InputSettings, base: Path, counts: OperationCounts
) -> Iterator[Document]:
    """The documents of a file, in order."""
    name = Path(os.path.relpath(path, base)).as_posix()
    try:
        source = open_source(path, on_error="set_aside")
    except ValueError as error:
        counts.add_fault(None, "cannot be read", str(error), name)
        return
    folder = Path(os.path.relpath(source.root, base)).as_posix() if source.root is not None else "."
    for number, record in enumerate(source):
        if not isinstance(record, Document):
            counts.add_unread(f"a {type(record).__name__.lower()}, not a document")
            continue
        moved = rebase(record, folder)
        yield moved if moved.id is not None else moved.model_copy(update={"id": f"{name}#{number}"})
    for row in source.set_aside.rows:
        counts.add_fault(None, "bad row", str(row), name)
