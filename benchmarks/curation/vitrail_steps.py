"""The same steps as operations of a pipeline, found through the entry points that `compare.py` writes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import same_steps

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    kept,
    texts_of,
)
from vitrail.data.records import Document, Text


class Extract(Operation):
    """HTML → one text."""

    class Config(OperationConfig):
        """Which extractor."""

        extractor: Literal["resiliparse", "trafilatura"] = "resiliparse"

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._extract = same_steps.extractor(self.config.extractor)

    def __call__(self, document: Document) -> Outcome:
        """The document with its text, or dropped."""
        (html,) = texts_of(document)
        text = self._extract(html)
        if not text:
            return dropped("no text")
        return Outcome(document.model_copy(update={"content": (Text(text=text),)}), changed=True)


class Quality(Operation):
    """Rules of Gopher's kind."""

    Config: ClassVar[Any] = OperationConfig

    def __call__(self, document: Document) -> Outcome:
        """The document, or dropped."""
        (text,) = texts_of(document)
        reason = same_steps.quality(text)
        return dropped(reason) if reason else kept(document)
