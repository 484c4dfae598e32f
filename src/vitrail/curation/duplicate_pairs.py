"""Pairs to look at: documents that an operation over the corpus took for the same as another, which it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrail.curation.counts import SAMPLE_CHARACTERS
from vitrail.curation.operations.duplicates import normalised
from vitrail.curation.operations.operation import texts_of
from vitrail.curation.steps import kept_in
from vitrail.data.records import Document

PAIRS = 8
"""Pairs shown of an operation."""


def pairs_of(decisions: Mapping[int, Any], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The first pairs in the corpus's order; none for decisions that are not places of other documents.

    ``words in common``: of all different words of the two the share that both have.
    """
    places = [
        (place, other)
        for place, other in sorted(decisions.items())
        if isinstance(other, int) and other != place
    ][:PAIRS]
    found = _documents({place for pair in places for place in pair}, folders)
    return [_pair(found[other], found[place]) for place, other in places]


def _pair(kept: Document, dropped: Document) -> dict[str, Any]:
    texts = ["\n".join(texts_of(one)) for one in (kept, dropped)]
    one, other = (set(normalised(text).split()) for text in texts)
    return {
        "kept": kept.id,
        "dropped": dropped.id,
        "words in common": round(len(one & other) / max(len(one | other), 1), 3),
        "kept text": texts[0][:SAMPLE_CHARACTERS],
        "dropped text": texts[1][:SAMPLE_CHARACTERS],
    }


def _documents(places: set[int], folders: Sequence[Path]) -> dict[int, Document]:
    """The documents at places of the corpus; only their lines are parsed."""
    found: dict[int, Document] = {}
    start = 0
    for folder in folders:
        end = start + kept_in(folder)
        if any(start <= place < end for place in places):
            with open(folder / "documents.jsonl", "rb") as file:
                for place, line in enumerate(file, start):
                    if place in places:
                        found[place] = Document.model_validate_json(line)
        start = end
    return found
