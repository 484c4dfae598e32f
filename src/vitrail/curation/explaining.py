"""What every operation of a pipeline does to one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vitrail.curation.counts import OperationCounts
from vitrail.curation.inputs import INPUT, read_documents
from vitrail.curation.inputs.page import SUFFIXES
from vitrail.curation.operations.operation import CorpusOperation
from vitrail.curation.pipeline import InputSettings, Pipeline
from vitrail.data.records import Document


@dataclass(frozen=True)
class Stage:
    """One operation on one document: ``verdict`` in words, the document ``after`` it (None when it left)."""

    operation: str
    verdict: str
    after: Document | None


def find_document(place: str, settings: InputSettings, base: Path) -> Document:
    """The document that ``FILE`` or ``FILE#N`` names, N counting a file's documents from 0.

    ValueError when there is none, with what was set aside instead.
    """
    name, mark, number = place.rpartition("#")
    path, wanted = (Path(name), int(number)) if mark and number.isdigit() else (Path(place), 0)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; name a file of the pipeline's input, or FILE#NUMBER")
    kind = "html" if path.suffix.lower() in SUFFIXES else "warc" if ".warc" in path.name else "records"
    counts = OperationCounts(INPUT)
    read = settings.model_copy(update={"name": kind})
    found = next(islice(read_documents(read, [path], base, counts), wanted, None), None)
    if found is None:
        left = json.dumps({**counts.dropped, **counts.set_aside}, ensure_ascii=False)
        raise ValueError(
            f"{path} holds {counts.kept} documents, so there is no number {wanted} (left out: {left})"
        )
    return found


def explain(pipeline: Pipeline, document: Document, base: Path) -> Iterator[Stage]:
    """The stages, until the document leaves."""
    yield Stage(INPUT, "read", document)
    for name, operation in zip(pipeline.names(), pipeline.build(), strict=True):
        operation.root = base
        if isinstance(operation, CorpusOperation):
            verdict, document = operation.alone(document)
            yield Stage(name, verdict, document)
            continue
        try:
            outcome = operation(document)
        except (ValueError, RecursionError) as error:
            yield Stage(name, f"set aside: {type(error).__name__}: {error}", None)
            return
        removed = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.removed.items()))
        what = f"parts removed: {removed}" if removed else "changed" if outcome.changed else "kept"
        if outcome.document is None:
            yield Stage(name, f"dropped: {outcome.reason}" + (f" ({what})" if removed else ""), None)
            return
        yield Stage(name, what, outcome.document)
        document = outcome.document
