"""What a score is read against: chance, the best guess without the picture, the model blinded."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from vitrail.data.media import map_media
from vitrail.data.records import Chat, Image, Media
from vitrail.storage.cache import key

GREY = 128
"""The middle of 0 … 255; not exactly the mean of an image processor, which some models take for padding."""


def blind(chat: Chat, root: Path | None = None) -> Chat:
    """The chat with every picture replaced by a uniform grey one of the same size."""

    def grey(medium: Media) -> Media:
        if not isinstance(medium, Image):
            return medium
        size = (medium.width, medium.height) if medium.width and medium.height else medium.open(root).size
        return Image(bytes=_grey(*size), width=size[0], height=size[1])

    return map_media(chat, grey)


@lru_cache(maxsize=64)
def _grey(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (width, height), (GREY, GREY, GREY)).save(buffer, "PNG")
    return buffer.getvalue()


def as_is(chat: Chat, root: Path | None = None) -> Chat:
    """The chat itself."""
    return chat


def chance(rows: Sequence[dict[str, Any]]) -> float | None:
    """The expected share of right answers when an option is drawn at random; None if a row has none."""
    if not rows or not all(row.get("options") for row in rows):
        return None
    return sum(1 / len(row["options"]) for row in rows) / len(rows)


def majority(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The option of each row that answers to other questions suggest, without looking at any picture.

    Within a kind of question, an option's text is as good as its share of being right where it was offered.
    Shares come from the half of the pictures that the row does not belong to, so that no row votes for
    itself. Halves are drawn by the pictures' names: where yes and no take turns, every other picture would have
    the same answer. The first of equally good options is taken.
    """
    named: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        named[row["kind"]].setdefault(row["cluster"], key("half", row["kind"], row["cluster"]))
    half = {
        (kind, cluster): place % 2
        for kind, clusters in named.items()
        for place, cluster in enumerate(sorted(clusters, key=clusters.__getitem__))
    }
    offered: dict[tuple[int, str, str], int] = defaultdict(int)
    right: dict[tuple[int, str, str], float] = defaultdict(float)
    for row in rows:
        for index, option in enumerate(row["options"]):
            place = (half[row["kind"], row["cluster"]], row["kind"], option)
            offered[place] += 1
            right[place] += index == row["answer"]

    def share(row: dict[str, Any], option: str) -> float:
        place = (1 - half[row["kind"], row["cluster"]], row["kind"], option)
        prior = 4.0  # as if each text had been offered so often already, and right as often as chance
        return (right.get(place, 0.0) + prior / len(row["options"])) / (offered.get(place, 0) + prior)

    guesses = []
    for row in rows:
        shares = [share(row, option) for option in row["options"]]
        guesses.append(shares.index(max(shares)))
    return guesses
