"""What may happen to a question before it is asked, by name: blinded, shrunk, corrupted.

``as_is``; ``blind`` (every picture grey); ``side-64`` (pictures no larger than 64 pixels); a corruption of pictures or
of texts with its severity from 1 to 5 (``gaussian_noise-3``, ``swap_characters-2``). Several are joined by ``+``,
first to last. Equal questions are changed equally, whatever is asked before them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from vitrail.data.corruptions.pictures import PICTURES, corrupt_picture
from vitrail.data.corruptions.texts import TEXTS, corrupt_text
from vitrail.data.media import map_media
from vitrail.data.records import Chat, Image, Media, Text
from vitrail.evaluation.baselines import as_is, blind
from vitrail.registry import nearest
from vitrail.storage.cache import key

Transform = Callable[[Chat, Path | None], Chat]
PLAIN: dict[str, Transform] = {"as_is": as_is, "blind": blind}
_NUMBERED = re.compile(r"^([a-z_]+)-(\d+)$")


def transform(name: str) -> Transform:
    """The transform of a name. ValueError for one that there is not, or a severity outside 1 to 5."""
    parts = [_one(part) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else partial(_all, parts)


def transform_of(condition: str) -> str:
    """The transform that a condition's name asks for: ``blind`` for ``…-blind``, its own where it is one, else
    ``as_is``."""
    if condition == "blind" or condition.endswith("-blind"):
        return "blind"
    try:
        transform(condition)
    except ValueError:
        return "as_is"
    return condition


def _all(parts: list[Transform], chat: Chat, root: Path | None) -> Chat:
    for part in parts:
        chat = part(chat, root)
    return chat


def _one(name: str) -> Transform:
    if name in PLAIN:
        return PLAIN[name]
    found = _NUMBERED.match(name)
    word, number = (found[1], int(found[2])) if found else (name, 0)
    if found and word == "side":
        if number < 1:
            raise ValueError("side-0 leaves no picture; give the longest side in pixels, as in side-64")
        return partial(_shrunk, number)
    known = [*PLAIN, "side", *PICTURES, *TEXTS]
    if not found or word not in (*PICTURES, *TEXTS):
        raise ValueError(
            f"transform is {name!r}; {nearest(word, known)} (a corruption has a severity: {PICTURES[0]}-3)"
        )
    if not 1 <= number <= 5:
        raise ValueError(f"transform is {name!r}, but a severity is a number from 1 to 5")
    return partial(_pictures, word, number) if word in PICTURES else partial(_texts, word, number)


def _shrunk(side: int, chat: Chat, root: Path | None) -> Chat:
    """Pictures whose longer side is more than ``side`` pixels made smaller, their proportions kept."""

    def change(medium: Media) -> Media:
        if not isinstance(medium, Image):
            return medium
        picture = medium.open(root)
        if max(picture.size) <= side:
            return medium
        picture.thumbnail((side, side), PILImage.Resampling.BICUBIC)
        return _encoded(picture)

    return map_media(chat, change)


def _pictures(kind: str, severity: int, chat: Chat, root: Path | None) -> Chat:
    def change(medium: Media) -> Media:
        if not isinstance(medium, Image):
            return medium
        raw = medium.read(root)
        draws = np.random.default_rng(int(key("corruption", kind, raw)[:16], 16))
        return _encoded(corrupt_picture(medium.open(root), kind, severity, draws))

    return map_media(chat, change)


def _texts(kind: str, severity: int, chat: Chat, root: Path | None) -> Chat:
    """The last turn's texts corrupted; options stay as they are."""
    *earlier, last = chat.messages
    parts = tuple(
        Text(
            text=corrupt_text(
                part.text,
                kind,
                severity,
                np.random.default_rng(int(key("corruption", kind, part.text)[:16], 16)),
            )
        )
        if isinstance(part, Text)
        else part
        for part in last.content
    )
    return chat.model_copy(update={"messages": (*earlier, last.model_copy(update={"content": parts}))})


def _encoded(picture: PILImage.Image) -> Image:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Image(bytes=buffer.getvalue(), width=picture.width, height=picture.height)
