"""HTML files below a folder: one page each; relative pictures stay paths below the pipeline's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs.page import SUFFIXES, decoded, page
from vitrail.curation.pipeline import InputSettings
from vitrail.data.records import Document


def read_html(path: Path, settings: InputSettings, base: Path, counts: OperationCounts) -> Iterator[Document]:
    """The page of a file, or none: a file of another kind is dropped, one too large or unreadable set aside."""
    name = Path(os.path.relpath(path, base)).as_posix()
    if path.suffix.lower() not in SUFFIXES:
        counts.add_unread("not an HTML file")
        return
    try:
        with open(path, "rb") as file:
            body = file.read(settings.max_page_bytes + 1)
    except OSError as error:
        counts.add_fault(None, "cannot be read", error.strerror or str(error), name)
        return
    if len(body) > settings.max_page_bytes:
        counts.add_fault(None, "page too large", f"more than {settings.max_page_bytes:,} bytes", name)
        return
    yield page(name, decoded(body), path=name)
