"""How concepts of a user stand in a prompt, for training as for answers (RAP, arXiv 2410.13360), and invented names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vitrail.data.records import Image, Text

SYLLABLES = tuple(first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou")
"""What invented names are made of: three of them mean nothing."""
Remembered = tuple[str, str, Image | None]
"""Name (without angle brackets), line about it, and picture."""


class Entry(NamedTuple):
    """What a memory holds of a thing: its name, the line about it, its picture, and what kind of thing it is."""

    name: str
    info: str
    picture: Image | None
    category: str = ""


def remembered(concepts: Sequence[Remembered], first: int = 1) -> list[Text | Image]:
    """The content that goes between the query's picture and its text; concepts are numbered from ``first``.

    As published, ``[``, for each ``{i}.<image>\\n Name: <{name}>, Info: {info}\\n``, then ``]``; RAP numbers from 1
    behind a query's picture, and from 0 without one.
    """
    parts: list[Text | Image] = []
    text = "\n["
    for number, (name, info, picture) in enumerate(concepts, start=first):
        text += f"{number}."
        if picture is not None:
            parts += [Text(text=text), picture]
            text = ""
        text += f"\n Name: <{name}>, Info: {info}\n"
    return [*parts, Text(text=f"{text}]")]
