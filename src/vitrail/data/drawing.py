"""Regions and points of a record as shapes to draw over its pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from vitrail.data.records import Frozen, Points, Record, Region
from vitrail.geometry import masks, rotated
from vitrail.reporting.pictures import Shape, box, outline


class Shapes:
    """What is drawn over each picture of a record; pictures and videos are counted together, from 0."""

    def __init__(self) -> None:
        self._still: dict[int, list[Shape]] = defaultdict(list)
        self._tracks: dict[int, list[tuple[Region, int]]] = defaultdict(list)

    def add(self, part: Region | Points, colour: int) -> None:
        """Take a part up, in one of the page's colours."""
        if isinstance(part, Region) and part.track is not None:
            self._tracks[part.image].append((part, colour))
            return
        shape = _shape(part, colour)
        if shape is not None:
            self._still[part.image].append(shape)

    def still(self, image: int) -> list[Shape]:
        """The shapes over picture number ``image``; of a track, where it begins and its way."""
        return self._still[image] + [
            shape for track, colour in self._tracks[image] for shape in _way(track, colour)
        ]

    def frame(self, image: int, frame: int) -> list[Shape]:
        """The shapes over one frame of the video number ``image``."""
        boxes = [
            box(*track.track[frame], label=track.label or "", colour=colour)
            for track, colour in self._tracks[image]
            if track.track and frame in track.track
        ]
        return self._still[image] + boxes


def shapes_of(record: Record) -> Shapes:
    """Everything in the record that is drawn over a picture."""
    shapes = Shapes()
    for colour, part in enumerate(_located(record)):
        shapes.add(part, colour)
    return shapes


def _located(value: Any) -> Iterator[Region | Points]:
    if isinstance(value, (Region, Points)):
        yield value
    elif isinstance(value, Frozen):
        for name in type(value).model_fields:
            if name != "meta":
                yield from _located(getattr(value, name))
    elif isinstance(value, tuple):
        for part in value:
            yield from _located(part)


def _shape(part: Region | Points, colour: int) -> Shape | None:
    label = part.label or ""
    if isinstance(part, Points):
        return Shape("dots", part.points, label=label, colour=colour)
    if part.box is not None:
        return box(*part.box, label=label, colour=colour)
    if part.rotated is not None:
        corners = tuple((float(x), float(y)) for x, y in rotated.corners(part.rotated))
        return Shape("polygon", corners, label=label, colour=colour)
    if part.quad is not None:
        return Shape(
            "polygon", tuple(zip(part.quad[::2], part.quad[1::2], strict=True)), label=label, colour=colour
        )
    if part.mask is not None:
        try:
            return outline(masks.decode(part.mask), label=label, colour=colour)
        except (ValueError, KeyError, TypeError):
            # A mask that cannot be read is still listed in the text below the picture.
            return None
    # A box in space cannot be drawn without its camera.
    return None


def _way(track: Region, colour: int) -> list[Shape]:
    assert track.track is not None
    boxes = [track.track[frame] for frame in sorted(track.track)]
    if not boxes:
        return []
    centres = tuple(((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes)
    return [box(*boxes[0], label=track.label or "", colour=colour), Shape("line", centres, colour=colour)]
