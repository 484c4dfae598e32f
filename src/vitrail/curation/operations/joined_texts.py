"""Texts that follow each other made one, as records with two lists have them: pictures alone stand between texts."""

from __future__ import annotations

from typing import Any

from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, kept
from vitrail.data.records import Document, Text


class JoinTexts(Operation):
    """Neighbouring texts become one, with ``separator`` between them."""

    class Config(OperationConfig):
        """``separator``: by default an empty line."""

        separator: str = "\n\n"

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document with a text for each stretch between pictures."""
        content: list[Any] = []
        for part in document.content:
            if isinstance(part, Text) and content and isinstance(content[-1], list):
                content[-1].append(part.text)
            else:
                content.append([part.text] if isinstance(part, Text) else part)
        joined = len(document.content) - len(content)
        if not joined:
            return kept(document)
        parts = tuple(
            Text(text=self.config.separator.join(one)) if isinstance(one, list) else one for one in content
        )
        removed = {"joined to the text before": joined}
        return Outcome(document.model_copy(update={"content": parts}), removed=removed, changed=True)
