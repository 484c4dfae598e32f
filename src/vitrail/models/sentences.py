"""Sentences and pairs of translations → tokens of a masked encoder, with what masks are placed by.

A pair is put as the tokenizer puts pairs (XLM-R: ``<s> a </s></s> b </s>``); of one that is too long the longer side
is cut. For every token is kept which text it is of and where in it, so that a span of characters becomes exactly the
tokens that touch it, whatever the tokenizer (BPE, WordPiece, SentencePiece).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitrail.data.entities import TYPES, Entity
from vitrail.data.records import Chat, Document, Group, Text

SPECIAL, SENTENCE, ENTITY, ENTITY_TYPE = "special", "sentence", "entity", "entity_type"
"""Entries of a batch beside the model's arguments: ``special`` (batch, tokens), true where nothing is ever predicted;
``sentence`` (batch,), equal numbers for equal texts; ``entity`` (batch, tokens), the number of the entity in its row or
−1, and ``entity_type`` (batch, tokens), its place in :data:`vitrail.data.entities.TYPES` or −1."""
Annotate = Callable[["EncodedSentence"], Sequence[Sequence[Entity]]]
"""From an encoded record to the entities of each of its texts."""


@dataclass(frozen=True)
class EncodedSentence:
    """A text, or two, as tokens. ``side``: which text a token is of, −1 for special ones; ``offsets`` (tokens, 2): its
    characters there. ``key`` identifies the texts by content.
    """

    input_ids: np.ndarray
    side: np.ndarray
    offsets: np.ndarray
    token_type_ids: np.ndarray
    texts: tuple[str, ...]
    key: int
    id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    images: tuple[()] = ()
    root: Path | None = None

    @property
    def length(self) -> int:
        """Tokens, special ones included."""
        return len(self.input_ids)

    @property
    def labelled(self) -> int:
        """Tokens that may be predicted."""
        return int((self.side >= 0).sum())

    def tokens_of(self, entity: Entity, side: int = 0) -> np.ndarray:
        """The places of the tokens that touch an entity of text ``side``."""
        start, end = self.offsets[:, 0], self.offsets[:, 1]
        inside = (self.side == side) & (start < entity.end) & (end > entity.start) & (end > start)
        return np.flatnonzero(inside)


class SentenceEncoder:
    """Turns documents of text and translations into tokens. ValueError for a tokenizer that tells no places."""

    chat_template = ""
    end_of_turn: tuple[int, ...] = ()
    image_token_id = None
    planner = None

    def __init__(self, tokenizer: Any, max_length: int | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                "the tokenizer is a slow one, which does not tell where in a text its tokens are; use a fast one "
                "(tokenizer.json)"
            )
        self.tokenizer, self.max_length = tokenizer, max_length

    def encode(self, record: Any, *, root: Path | None = None, **_: Any) -> EncodedSentence:
        """The record's tokens. ValueError with the reason for what is neither a text nor a pair of translations."""
        texts = texts_of(record)
        made = self.tokenizer(
            *texts,
            truncation="longest_first" if self.max_length is not None else False,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        sides = [-1 if side is None else side for side in made.sequence_ids(0)]
        if max(sides) < 0:
            raise ValueError("it has no token that could be predicted")
        return EncodedSentence(
            input_ids=np.asarray(made["input_ids"], dtype=np.int64),
            side=np.asarray(sides, dtype=np.int64),
            offsets=np.asarray(made["offset_mapping"], dtype=np.int64),
            token_type_ids=np.asarray(made["token_type_ids"], dtype=np.int64),
            texts=texts,
            key=_key(texts),
            id=record.id,
            meta=dict(record.meta),
            root=root,
        )


def texts_of(record: Any) -> tuple[str, ...]:
    """The text of a document, or the two of a translation. ValueError with the reason for anything else."""
    if isinstance(record, Document):
        found: tuple[str, ...] = ("".join(part.text for part in _words(record.content)),)
    elif isinstance(record, Group) and record.relation == "translation":
        found = tuple("".join(part.text for part in _words(item)) for item in record.items)
        if len(found) != 2:
            raise ValueError(f"it is a text in {len(found)} languages; a pair has two")
    else:
        what = f"group of relation {record.relation!r}" if isinstance(record, Group) else record.kind
        more = " (its answers are no text to read)" if isinstance(record, Chat) else ""
        raise ValueError(f"a masked encoder reads texts and translations, and this is a {what}{more}")
    if not all(text.strip() for text in found):
        raise ValueError("a text is empty")
    return found


def _words(parts: Sequence[Any]) -> list[Text]:
    other = next((part.type for part in parts if not isinstance(part, Text)), None)
    if other is not None:
        raise ValueError(f"it holds {other}; a masked encoder reads text alone")
    return list(parts)


class SentenceCollator:
    """Pads on the right. ``annotate``: who knows the entities of a record; None where masks need none."""

    def __init__(self, pad_token_id: int, arguments: Sequence[str]) -> None:
        self.pad_token_id, self.arguments = pad_token_id, tuple(arguments)
        self.annotate: Annotate | None = None

    def __call__(self, sentences: Sequence[EncodedSentence]) -> dict[str, Any]:
        """The model's arguments and what masks are placed by (:data:`SPECIAL` …)."""
        width = max(sentence.length for sentence in sentences)
        batch: dict[str, Tensor] = {
            "input_ids": _padded([one.input_ids for one in sentences], width, self.pad_token_id),
            "attention_mask": _padded([np.ones_like(one.input_ids) for one in sentences], width, 0),
            "token_type_ids": _padded([one.token_type_ids for one in sentences], width, 0),
        }
        batch = {name: value for name, value in batch.items() if name in self.arguments}
        batch[SPECIAL] = _padded([one.side for one in sentences], width, -1) < 0
        batch[SENTENCE] = torch.tensor([one.key for one in sentences])
        if self.annotate is not None:
            numbers, types = zip(*(columns(one, self.annotate(one)) for one in sentences), strict=True)
            batch[ENTITY], batch[ENTITY_TYPE] = _padded(numbers, width, -1), _padded(types, width, -1)
        return batch


def columns(sentence: EncodedSentence, found: Sequence[Sequence[Entity]]) -> tuple[np.ndarray, np.ndarray]:
    """For every token the number of its entity and the number of that one's type, −1 for none.

    An entity whose tokens were cut off is not there; of two that share a token the earlier has it.
    """
    numbers = np.full(sentence.length, -1, dtype=np.int64)
    types = numbers.copy()
    number = 0
    for side, entities in enumerate(found):
        for entity in entities:
            places = sentence.tokens_of(entity, side)
            places = places[numbers[places] < 0]
            numbers[places], types[places] = number, TYPES.index(entity.type)
            number += bool(len(places))
    return numbers, types


def _padded(rows: Sequence[np.ndarray], width: int, fill: int) -> Tensor:
    made = np.full((len(rows), width), fill, dtype=np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return torch.from_numpy(made)


def _key(texts: Sequence[str]) -> int:
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big", signed=True)
