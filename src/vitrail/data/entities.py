"""Linguistic entities in a text: names, nouns and verbs as spans of characters (arXiv 2501.05700).

A record carries those of its texts in ``meta["entities"]``: for a document a list of ``{type, start, end}``, for a
group a list of such lists, one an item; beside it ``meta["entities_of"]`` may hold :func:`fingerprint` of each text,
so that an annotation of a string that was normalised otherwise is found out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vitrail.registry import nearest

EntityType = Literal["NE", "NOUN", "VERB"]
TYPES: tuple[EntityType, ...] = get_args(EntityType)
"""In the order of their priority: a word that is both is what comes first."""
UPOS: dict[str, EntityType] = {"PROPN": "NE", "NOUN": "NOUN", "VERB": "VERB"}
"""Universal parts of speech that are entities."""
_PENN: dict[str, EntityType] = {"NNP": "NE", "NNPS": "NE", "NN": "NOUN", "NNS": "NOUN"}


@dataclass(frozen=True, order=True)
class Entity:
    """Characters ``start`` (included) to ``end`` (excluded) of a text, and what they are."""

    start: int
    end: int
    type: EntityType

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"an entity's type is {self.type!r}; {nearest(str(self.type), list(TYPES))}")
        if not 0 <= self.start < self.end:
            raise ValueError(f"an entity is from {self.start} to {self.end}; give a start below its end")


def fingerprint(text: str) -> str:
    """Of the exact string, to be kept beside its annotation."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def checked(found: Iterable[Entity], text: str, known: str | None = None) -> list[Entity]:
    """Entities in order, where a word that is of two types is the one of higher priority.

    ValueError for a span beyond the text, for two of one type that overlap, and where ``known`` is the fingerprint of
    another string.
    """
    if known is not None and known != fingerprint(text):
        raise ValueError(
            "entities were annotated on another string (another normalisation?); annotate the text as it is"
        )
    kept: list[Entity] = []
    for entity in sorted(found, key=lambda one: (TYPES.index(one.type), one.start)):
        if entity.end > len(text):
            raise ValueError(
                f"an entity is from {entity.start} to {entity.end}, and the text has {len(text)} characters; annotate "
                "the text as it is"
            )
        over = next((one for one in kept if one.start < entity.end and entity.start < one.end), None)
        if over is None:
            kept.append(entity)
        elif over.type == entity.type:
            raise ValueError(
                f"two entities of type {entity.type} overlap, {over.start} to {over.end} and {entity.start} to "
                f"{entity.end}; remove one"
            )
    return sorted(kept)


def beside(names: Sequence[Entity], words: Sequence[Entity]) -> list[Entity]:
    """Names, and those of the words that lie outside them, in order."""
    outside = [
        one for one in words if not any(one.start < name.end and name.start < one.end for name in names)
    ]
    return sorted([*names, *outside])


def of_meta(meta: Any, item: int | None, text: str) -> list[Entity] | None:
    """The entities that a record's ``meta`` has for its text (or its ``item``); None where it has none.

    ValueError for what cannot be read as entities.
    """
    if "entities" not in meta:
        return None
    listed, marks = meta["entities"], meta.get("entities_of")
    if item is not None:
        listed = listed[item] if item < len(listed) else ()
        marks = marks[item] if isinstance(marks, (list, tuple)) else None
    elif isinstance(marks, (list, tuple)):
        marks = marks[0] if marks else None
    try:
        found = [Entity(int(one["start"]), int(one["end"]), one["type"]) for one in listed]
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"meta.entities is a list of objects with type, start and end ({error!r} is wrong)"
        ) from None
    return checked(found, text, marks)


def as_meta(found: Sequence[Entity]) -> list[dict[str, Any]]:
    """Plain values for ``meta["entities"]``."""
    return [{"type": one.type, "start": one.start, "end": one.end} for one in found]


def of_words(
    places: Sequence[tuple[int, int]], parts: Sequence[str], names: Sequence[str] | None = None
) -> list[Entity]:
    """From words' places, their parts of speech (universal, or Penn's), and tags of names (B-PER, I-PER, O …).

    A name may be several words; a noun or verb is one. A word inside a name is part of it.
    """
    found: list[Entity] = []
    inside: set[int] = set()
    open_at: int | None = None
    tags = list(names or ["O"] * len(places))
    for place, tag in enumerate([*tags, "O"]):
        begins = tag[:2] in ("B-", "S-", "U-") or (tag[:2] == "I-" and open_at is None)
        if open_at is not None and (begins or tag in ("O", "_", "")):
            found.append(Entity(places[open_at][0], places[place - 1][1], "NE"))
            inside |= set(range(open_at, place))
            open_at = None
        if begins:
            open_at = place
    for place, (part, (start, end)) in enumerate(zip(parts, places, strict=True)):
        kind = UPOS.get(part) or _PENN.get(part) or ("VERB" if part.startswith("VB") else None)
        if kind is not None and place not in inside and end > start:
            found.append(Entity(start, end, kind))
    return sorted(found)
