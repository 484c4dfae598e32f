"""Which documents are trained on, and how much of them: mOSCAR's recipe of training (arXiv 2406.08707).

Two thirds of the documents with a single picture are rejected at random, and a sequence has at most eight pictures. The
length in tokens is the recipe's (``packing``).
"""

from __future__ import annotations

from pydantic import Field

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    images_of,
    kept,
    without_parts,
)
from vitrail.data.records import Document, Image
from vitrail.storage.cache import key


class SingleImage(Operation):
    """A share of the documents with exactly one picture goes, drawn by their id."""

    class Config(OperationConfig):
        """``reject``: the share; ``seed`` draws it."""

        reject: float = Field(default=2 / 3, ge=0, le=1)
        seed: int = 0

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped."""
        if len(images_of(document)) != 1:
            return kept(document)
        named = document.id if document.id is not None else document.model_dump_json()
        drawn = int(key("single image", self.config.seed, named)[:16], 16) / 2**64
        return dropped("a single picture") if drawn < self.config.reject else kept(document)


class MostImages(Operation):
    """A document ends before the picture that would be one too many."""

    class Config(OperationConfig):
        """``images``: how many a document may have."""

        images: int = Field(default=8, ge=1)

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document's beginning; dropped where nothing is left."""
        seen, why = 0, []
        for part in document.content:
            seen += isinstance(part, Image)
            why.append("after the last picture" if seen > self.config.images else None)
        return without_parts(document, why)
