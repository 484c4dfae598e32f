"""What a memory has to say about a picture and a question: names, then likeness, in that order.

As RAP does (Hao et al. 2024, arXiv 2410.13360): every tag ``<name>`` that stands in the text is found, whatever ``k``;
then a proposer's crops of the picture are embedded, the two nearest concepts of each are pooled and taken by distance
until ``k`` are held. No crop, no hit by likeness. Distances are L2 between unit vectors (squared: 2 − 2 cos).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image as PILImage

from vitrail.inference.concepts import PICTURES, WORDS, Concept, ConceptStore

if TYPE_CHECKING:
    from vitrail.models.experts.regions import RegionProposer


_TAG = re.compile(r"<([^<>\r\n]+)>")


@dataclass(frozen=True)
class Found:
    """A concept, how it was found, and at what distance (0 by its name)."""

    concept: Concept
    distance: float
    by: Literal["name", "picture", "words"]


def named_in(store: ConceptStore, text: str) -> list[str]:
    """Names whose tags stand in a text, in the order of their first place."""
    tags = dict.fromkeys(name.strip() for name in _TAG.findall(text))
    return [name for name in tags if name in store.store]


def retrieve(
    store: ConceptStore,
    picture: PILImage.Image | None,
    text: str,
    k: int,
    *,
    proposer: RegionProposer | None = None,
    each: int = 2,
    furthest: float | None = None,
) -> list[Found]:
    """Concepts named in ``text``, then those nearest to crops of ``picture`` until ``k`` are held.

    More than ``k`` names give more than ``k`` concepts. ``proposer`` None: the picture as it is. ``furthest``: no
    concept beyond this distance. ValueError for ``k`` below 0.
    """
    if k < 0:
        raise ValueError(f"k is {k}; give 0 or more concepts")
    found = [(name, 0.0, "name") for name in named_in(store, text)]
    if picture is not None and len(found) < k and store.store.space(PICTURES) is not None:
        boxes = [(0, 0, *picture.size)]
        if proposer is not None:
            boxes = proposer.propose(picture, store.categories())
        held = {name for name, *_ in found}
        for name, distance in _pooled(store, [picture.crop(box) for box in boxes], each):
            if len(found) >= k or (furthest is not None and distance > furthest):
                break
            if name not in held:
                held.add(name)
                found.append((name, distance, "picture"))
    return [Found(store.get(name), distance, by) for name, distance, by in found]  # type: ignore[arg-type]


def by_words(store: ConceptStore, text: str, k: int, space: str = WORDS) -> list[Found]:
    """The ``k`` concepts whose lines, or (space ``pictures``, a CLIP-like encoder) pictures, are nearest to a text."""
    if k < 0:
        raise ValueError(f"k is {k}; give 0 or more concepts")
    if store.store.space(space) is None:
        return []
    (matches,) = store.store.nearest(space, store.encoder.embed_texts([text]), k)
    return [Found(store.get(name), distance, "words") for name, distance in matches]


def _pooled(store: ConceptStore, crops: Sequence[PILImage.Image], each: int) -> list[tuple[str, float]]:
    """The nearest of each crop, together, by distance."""
    if not crops:
        return []
    rows = store.store.nearest(PICTURES, store.encoder.embed_images(list(crops)), each)
    return sorted(((match.key, match.distance) for row in rows for match in row), key=lambda one: one[1])
