"""Questions some of which say their answer: a flaw that audits have to find (MME-Survey, arXiv 2411.15296)."""

from __future__ import annotations

from typing import Any

from vitrail.data.records import Chat, Message, Text
from vitrail.data.scenes.draws import Draws
from vitrail.data.sources import RandomAccess, SetAside
from vitrail.storage.cache import key


class PrintedAnswers(RandomAccess):
    """``source`` with the right option in brackets behind a ``share`` of its questions. ValueError for no share."""

    def __init__(self, source: Any, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"printed is {share}; give a share from 0 to 1")
        self.source, self.share = source, share
        self.name, self.root, self.set_aside = (
            f"{source.name}/printed",
            source.root,
            SetAside(used=len(source)),
        )

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the questions, and how many say their answer."""
        return key("printed answers", self.source.fingerprint, self.share)

    def __len__(self) -> int:
        return len(self.source)

    def _record(self, index: int) -> Chat:
        record = self.source[index]
        if not Draws("printed answers", self.source.name, index).chance(self.share):
            return record
        *before, last = record.messages
        *parts, question = last.content
        (right,) = record.choices.options[record.choices.answer]
        told = Text(text=f"{question.text} ({right.text})")
        asked = Message(role=last.role, content=(*parts, told))
        return record.model_copy(update={"messages": (*before, asked)})
