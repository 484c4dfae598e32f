"""Addresses of pictures that are furniture of sites, by how often they are there, by scheme and by words in them.

As InfiMM-WebMath (arXiv 2409.12568): an address that occurs more than ten times over the corpus goes everywhere; all
pictures of a document with more than a hundred go, and their addresses from other documents too; of the rest only
https stays, without logo, banner, avatar or icon. Pictures at hand (files, bytes) have no address and stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from vitrail.curation.operations.operation import (
    CorpusOperation,
    OperationConfig,
    Outcome,
    images_of,
    without_parts,
)
from vitrail.data.records import Document, Image


class ImageAddresses(CorpusOperation):
    """Pictures whose address breaks a rule are removed."""

    class Config(OperationConfig):
        """``max_occurrences`` of an address over all documents; ``max_per_document`` pictures."""

        max_occurrences: int = Field(default=10, ge=1)
        max_per_document: int = Field(default=100, ge=0)
        require_https: bool = True
        deny: tuple[str, ...] = ("logo", "banner", "avatar", "icon")

    config: Config

    def sketch_schema(self) -> Any:
        """The address of each picture in order, null for one at hand."""
        import pyarrow as pa

        return pa.schema([("addresses", pa.list_(pa.string()))])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        return {"addresses": [image.url for image in images_of(document)]}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """For each picture of a document a reason to remove it, or null."""
        seen: Counter[str] = Counter()
        crowded: set[str] = set()
        for sketch in sketches:
            addresses = [one for one in sketch["addresses"] if one is not None]
            seen.update(addresses)
            if len(sketch["addresses"]) > self.config.max_per_document:
                crowded.update(addresses)
        decisions = {}
        for place, sketch in enumerate(sketches):
            why = [
                None if one is None else self._why_not(one, seen[one], one in crowded)
                for one in sketch["addresses"]
            ]
            if any(why):
                decisions[place] = why
        return decisions

    def _why_not(self, address: str, count: int, crowded: bool) -> str | None:
        if count > self.config.max_occurrences:
            return "address seen too often"
        if crowded:
            return "of a document with too many pictures"
        lower = address.lower()
        if self.config.require_https and not lower.startswith("https://"):
            return "not https"
        return "address" if any(word in lower for word in self.config.deny) else None

    def apply(self, document: Document, decision: Any) -> Outcome:
        """The document without the pictures that have a reason."""
        reasons = iter(decision)
        why = [next(reasons) if isinstance(part, Image) else None for part in document.content]
        return without_parts(document, why)
