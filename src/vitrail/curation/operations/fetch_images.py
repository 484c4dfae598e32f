"""Addresses of pictures → pictures at hand, fetched from the web (:mod:`vitrail.curation.fetching`).

Nothing is fetched unless a pipeline names this operation. It asks for all addresses of the corpus in one process, each
once, and puts the pictures into a store by content; what comes after it finds files. Put it behind what removes
pictures by address and documents by text: what is removed before is never asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from vitrail.curation.fetching.settings import FetchSettings
from vitrail.curation.operations.operation import (
    CorpusOperation,
    OperationConfig,
    Outcome,
    images_of,
    needs,
    without_parts,
)
from vitrail.data.records import Document, Image


class FetchImages(CorpusOperation):
    """Pictures by address become files below ``store``; those that cannot be had go, by reason, or stay as they are."""

    class Config(OperationConfig, FetchSettings):
        """``store``: a folder below the pipeline's own. ``failed``: addresses without a picture are removed, or kept.
        The others are those of :class:`FetchSettings`: ``user_agent`` (say how to
        reach you), requests ``per_second`` to a host, ``hosts`` side by side, ``retries`` after pauses from
        ``backoff`` seconds to ``max_wait``, ``give_up`` after so many failures of a host, ``max_seconds`` and
        ``max_bytes`` of an answer, ``max_pixels``, ``max_redirects``, ``ports``; ``allow_networks`` names networks that
        are not public and may be asked.
        """

        store: str = Field(default="media", min_length=1)
        failed: Literal["remove", "keep"] = "remove"

        @model_validator(mode="after")
        def _inside(self) -> FetchImages.Config:
            path = Path(self.store)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"store is {self.store!r}; name a folder below the pipeline's own")
            from vitrail.data.fetching.addresses import Networks

            Networks(self.allow_networks)
            return self

    config: Config

    def __init__(self, config: Config | None = None, **replaced: Any) -> None:
        super().__init__(config)
        self._replaced = replaced
        try:
            import httpcore2  # noqa: F401
            import protego  # noqa: F401
        except ImportError as error:
            raise needs(error.name or "httpcore2", "fetch_images") from None

    def _fetcher(self) -> Any:
        from vitrail.curation.fetching.fetcher import Fetcher

        told = self.config.model_dump(include=set(FetchSettings.model_fields))
        return Fetcher(FetchSettings(**told), Path(self.root) / self.config.store, **self._replaced)

    def sketch_schema(self) -> Any:
        """The address of each picture in order, null for one at hand."""
        import pyarrow as pa

        return pa.schema([("addresses", pa.list_(pa.string()))])

    def sketch(self, document: Document) -> dict[str, Any]:
        """See :meth:`sketch_schema`."""
        return {"addresses": [image.url for image in images_of(document)]}

    def decide(self, sketches: Iterable[dict[str, Any]]) -> Mapping[int, Any]:
        """Fetch; for each picture of a document its file and size, a reason, or null for one that was at hand."""
        wanted = {one for sketch in sketches for one in sketch["addresses"] if one is not None}
        found = self._fetcher().run(wanted, self.say) if wanted else {}
        decisions = {}
        for place, sketch in enumerate(sketches):
            if any(one is not None for one in sketch["addresses"]):
                decisions[place] = [
                    None if one is None else self._told(found[one]) for one in sketch["addresses"]
                ]
        return decisions

    def _told(self, result: Any) -> dict[str, Any]:
        if result.reason:
            return {"reason": f"not fetched: {result.reason}"}
        path = os.path.join(self.config.store, result.path)
        return {"path": path, "sha256": result.sha256, "width": result.width, "height": result.height}

    def apply(self, document: Document, decision: Any) -> Outcome:
        """The document with its pictures as files; ``meta["image_addresses"]`` has their addresses by SHA-256."""
        rows = iter(decision)
        content, why, addresses = [], [], {}
        for part in document.content:
            row = next(rows) if isinstance(part, Image) else None
            why.append(row.get("reason") if row is not None and self.config.failed == "remove" else None)
            if row is not None and "path" in row:
                addresses[row["sha256"]] = part.url  # type: ignore[union-attr]
                part = Image(path=row["path"], width=row["width"], height=row["height"])
            content.append(part)
        if addresses:
            known = {**document.meta.get("image_addresses", {}), **addresses}
            meta = {**document.meta, "image_addresses": known}
            document = document.model_copy(update={"content": tuple(content), "meta": meta})
        outcome = without_parts(document, why)
        if outcome.document is None or not addresses:
            return outcome
        return Outcome(outcome.document, removed=outcome.removed, changed=True)

    def alone(self, document: Document) -> tuple[str, Document]:
        """What is known of one document's pictures without asking anybody, in words, and the document with these."""
        addresses = [image.url for image in images_of(document) if image.url is not None]
        if not addresses:
            return "no picture is an address", document
        known = self._fetcher().known(addresses)
        rows = [self._told(known[image.url]) if image.url in known else None for image in images_of(document)]
        here = sum(row is not None and "path" in row for row in rows)
        failed = sorted({row["reason"] for row in rows if row is not None and "reason" in row})
        verdict = f"{len(set(addresses))} addresses: {here} in the store, {len(set(addresses) - set(known))} to fetch"
        after = self.apply(document, [row or {} for row in rows]).document
        return "; ".join([verdict, *failed]), after if after is not None else document
