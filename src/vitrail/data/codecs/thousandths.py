"""Boxes and points → text in thousandths of the picture's sides: ``[(x1,y1),(x2,y2)]``, as ms-swift writes it.

Whole numbers from 0 to 1000 do not depend on how a model resizes its pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vitrail.data.records import Chat, Message, Points, Region, Text

SizeOf = Callable[[int], tuple[int, int]]
"""Number of a picture of the record → its width and height in pixels."""


def write(numbers: Sequence[float], size: tuple[float, float] = (1000, 1000)) -> str:
    """Coordinates ``x1 y1 x2 y2 …`` in pixels of a picture of ``size`` (default: already in thousandths) as text."""
    width, height = size
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return "[" + ",".join(f"({round(x / width * 1000)},{round(y / height * 1000)})" for x, y in pairs) + "]"


def as_text(chat: Chat, size_of: SizeOf) -> Chat:
    """The chat with its boxes, quads and points as text behind their labels; itself when it has none.

    ValueError for a region of another shape and for a picture that the record does not have.
    """
    updates = {}
    for name in ("messages", "rejected"):
        turns = getattr(chat, name)
        if turns is not None and any(
            isinstance(part, (Region, Points)) for turn in turns for part in turn.content
        ):
            updates[name] = tuple(_turn(turn, size_of, len(chat.images)) for turn in turns)
    return chat.model_copy(update=updates) if updates else chat


def _turn(turn: Message, size_of: SizeOf, pictures: int) -> Message:
    parts = tuple(
        Text(text=_part(part, size_of, pictures)) if isinstance(part, (Region, Points)) else part
        for part in turn.content
    )
    return turn.model_copy(update={"content": parts})


def _part(part: Region | Points, size_of: SizeOf, pictures: int) -> str:
    if not 0 <= part.image < pictures:
        raise ValueError(f"a {part.type} is in picture {part.image}, but the record has {pictures} (from 0)")
    if isinstance(part, Points):
        texts = "".join(write(point, size_of(part.image)) for point in part.points)
    else:
        numbers = part.box or part.quad
        if numbers is None:
            raise ValueError(
                "only boxes, quads and points can be learnt as text; this region has another shape"
            )
        texts = write(numbers, size_of(part.image))
    return (part.label or "") + texts
