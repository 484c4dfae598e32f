"""Where a pipeline's documents come from: WARC files, folders of HTML, videos, files of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vitrail.curation.counts import OperationCounts
from vitrail.curation.pipeline import InputSettings
from vitrail.data.records import Document

INPUT = "input"


def read_documents(
    settings: InputSettings, files: Sequence[Path], base: Path, counts: OperationCounts
) -> Iterator[Document]:
    """The documents of ``files`` in order. What is no document, or cannot be read, is counted in ``counts``."""
    if settings.name == "warc":
        from vitrail.curation.inputs.warc import read_warc as read
    elif settings.name == "html":
        from vitrail.curation.inputs.html import read_html as read
    elif settings.name == "videos":
        from vitrail.curation.inputs.videos import read_videos as read
    else:
        from vitrail.curation.inputs.records import read_records as read
    for path in files:
        for document in read(path, settings, base, counts):
            try:
                document.model_dump_json()
            except ValueError as error:  # lone surrogates, bytes in meta
                counts.add_fault(None, "cannot be written as JSON", str(error), str(document.id))
                continue
            counts.add_read(document)
            yield document
