"""Interleaved documents as few-shot chats: the first pairs of a picture and its text show, the last is learnt.

As AIM trains (arXiv 2406.07588): consecutive pairs of one document, the first k demonstrations, k drawn from 1 to
``k_max``. A picture's text is the one behind it up to the next picture or, where there is none, the one in front of it
that no other picture has; the published pairs were matched by CLIP, which a corpus such as MMC4 has done already.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.demonstrations import Shown, shown
from vitrail.data.records import Chat, Document, Image, Message, Text
from vitrail.data.scenes.draws import Draws
from vitrail.data.sources import BadRow, RandomAccess, SetAside, Source
from vitrail.storage.cache import key

Pair = tuple[Image, str]


def pairs_of(document: Document) -> list[Pair]:
    """The pictures of a document with their texts, in order; a picture without one is left out."""
    found: list[Pair] = []
    before, waiting, text = "", None, ""
    for part in (*document.content, None):
        if isinstance(part, Text):
            text += part.text
        if not isinstance(part, Image) and part is not None:
            continue
        said = " ".join(text.split())
        if waiting is not None:
            chosen = said or before
            if chosen:
                found.append((waiting, chosen))
            before = ""
        else:
            before = said
        waiting, text = part if isinstance(part, Image) else None, ""
    return found


class InterleavedShots(RandomAccess):
    """A chat for each document of ``source`` that has two pairs at least; the others are set aside.

    Which pairs depends on ``seed`` and the document's number. ValueError for records that are no documents, and where
    nothing is left.
    """

    def __init__(
        self,
        source: Source,
        k_max: int,
        *,
        seed: int = 0,
        request: str = "Describe the image.",
        show: Shown = "apart",
    ) -> None:
        if k_max < 1:
            raise ValueError(f"k_max is {k_max}; a chat has 1 demonstration at least")
        self.source, self.k_max, self.seed, self.request, self.show = source, k_max, seed, request, show
        self.name, self.root = f"{source.name} as demonstrations", source.root
        self._rows: list[int] = []
        self.set_aside = SetAside()
        for row in range(len(source)):
            record: Any = source[row]
            if not isinstance(record, Document):
                raise ValueError(
                    f"record {row} of {source.name} is a {record.kind}; demonstrations are made of documents"
                )
            if (count := len(pairs_of(record))) < 2:
                why = f"{count} pictures with a text are too few; a demonstration and a question need 2"
                self.set_aside.rows.append(
                    BadRow(source.name, row + 1, "content", why, record.id, "document")
                )
                continue
            self._rows.append(row)
        self.set_aside.used = len(self._rows)
        if not self._rows:
            raise ValueError(f"no document of {source.name} has two pictures with texts")
        self.fingerprint = key("interleaved shots", source.fingerprint, k_max, seed, request, show)

    def __len__(self) -> int:
        return len(self._rows)

    def _record(self, index: int) -> Chat:
        row = self._rows[index]
        document: Any = self.source[row]
        pairs = pairs_of(document)
        draws = Draws("interleaved shots", self.seed, row)
        k = draws.integer(1, min(self.k_max, len(pairs) - 1))
        first = draws.integer(0, len(pairs) - 1 - k)
        turns: list[Message] = []
        for number, (picture, text) in enumerate(pairs[first : first + k + 1]):
            turns += [
                Message(role="user", content=(picture, Text(text=self.request))),
                Message(role="assistant", content=(Text(text=text),), weight=float(number == k)),
            ]
        chat = Chat(id=document.id, messages=tuple(turns), meta={"kind": "demonstrated", "groups": {"k": k}})
        return shown(chat, self.show, k)
