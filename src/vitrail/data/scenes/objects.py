"""A scene: a picture and the exact truth about everything in it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from vitrail.data.records import Image, Region
from vitrail.data.sprites import Thing
from vitrail.geometry import masks, rotated

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]

CORNERS = ("top left", "top right", "bottom left", "bottom right")
PLACES = (*CORNERS, "center")
RELATIONS = ("left", "right", "above", "below")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_CELLS = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)

# Fractions of the picture's side. A corner is sure from this far off the middle, the centre up to this far.
CORNER_MARGIN, CENTRE_MARGIN = 0.08, 0.07
# A relation is sure if the centres are this far apart along it, and at most half as far across it.
RELATION_MARGIN = 0.2
SMALL, LARGE = 0.3, 0.45

_RUN_LENGTH = 3
"""zlib's Z_RLE: on scenes faster and smaller than its default strategy (benchmarks/scenes.py)."""


@dataclass(frozen=True)
class SceneObject:
    """One thing in a scene. ``box`` is ``xyxy`` in pixels around all of it, seen or hidden.

    ``outline`` is its full mask within ``box``. ``depth`` counts from the back (0). ``colour`` is one of
    eleven words where one clearly dominates, else None. ``angle`` is degrees counter-clockwise.
    """

    thing: Thing
    box: Box
    outline: Mask = field(repr=False, compare=False)
    depth: int
    angle: int
    flipped: bool
    colour: str | None
    side: int
    """The picture's side in pixels."""
    visible: float = 1.0
    """Share of its pixels that nothing hides."""

    @property
    def name(self) -> str:
        """The thing's name."""
        return self.thing.name

    @property
    def kind(self) -> str:
        """The thing's kind."""
        return self.thing.kind

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of ``box`` as fractions of the picture's side, x then y."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / (2 * self.side), (y1 + y2) / (2 * self.side)

    @property
    def size(self) -> str:
        """``small``, ``medium`` or ``large``: the longer side of ``box`` against the picture's."""
        x1, y1, x2, y2 = self.box
        longer = max(x2 - x1, y2 - y1) / self.side
        return "small" if longer < SMALL else "large" if longer >= LARGE else "medium"

    @property
    def cell(self) -> str:
        """Which ninth of the picture the centre is in: ``top left``, ``top``, … ``center`` …"""
        x, y = self.centre
        return _CELLS[min(2, int(3 * y))][min(2, int(3 * x))]

    @property
    def place(self) -> str | None:
        """One of :data:`PLACES` where nobody would doubt it, else None."""
        x, y = (value - 0.5 for value in self.centre)
        if min(abs(x), abs(y)) >= CORNER_MARGIN:
            return f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
        return "center" if max(abs(x), abs(y)) <= CENTRE_MARGIN else None


@dataclass(frozen=True)
class Scene:
    """A picture ``pixels (side, side, 3)`` and its objects, in the order they were asked for.

    ``labels (side, side)`` says for each pixel which object is seen there: 0 none, else its index + 1.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False)
    labels: npt.NDArray[np.uint8] = field(repr=False)
    objects: tuple[SceneObject, ...]
    background: str
    """The colour word of the background."""
    placements: tuple[Any, ...] = field(default=(), repr=False)
    """What :func:`vitrail.data.scenes.composer.paint` painted: change it and paint again."""
    backdrop: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """The background alone."""

    @property
    def side(self) -> int:
        """The picture's side in pixels."""
        return self.pixels.shape[0]

    def mask(self, index: int) -> Mask:
        """The full mask ``(side, side)`` of object ``index``, what others hide included."""
        x1, y1, x2, y2 = self.objects[index].box
        mask = np.zeros(self.labels.shape, dtype=bool)
        mask[y1:y2, x1:x2] = self.objects[index].outline
        return mask

    def visible_mask(self, index: int) -> Mask:
        """The mask ``(side, side)`` of what is seen of object ``index``."""
        return self.labels == index + 1

    def visible_box(self, index: int) -> Box | None:
        """The ``xyxy`` box around what is seen of object ``index``; None if nothing is."""
        return masks.to_box(self.visible_mask(index))

    def rotated_box(self, index: int) -> tuple[float, ...]:
        """The smallest rotated box around the full mask: centre x, y, width, height, degrees."""
        x1, y1, _, _ = self.objects[index].box
        box = rotated.from_mask(self.objects[index].outline)
        return (float(box[0] + x1), float(box[1] + y1), *(float(value) for value in box[2:]))

    def relation(self, a: int, b: int) -> str | None:
        """Where object ``a`` is, seen from ``b``: one of :data:`RELATIONS` where it is sure, else None."""
        (ax, ay), (bx, by) = self.objects[a].centre, self.objects[b].centre
        across, down = ax - bx, ay - by
        if abs(across) >= RELATION_MARGIN and abs(across) >= 2 * abs(down):
            return "left" if across < 0 else "right"
        if abs(down) >= RELATION_MARGIN and abs(down) >= 2 * abs(across):
            return "above" if down < 0 else "below"
        return None

    def relations(self) -> dict[tuple[int, int], str]:
        """The sure relation of each ordered pair that has one."""
        pairs = ((a, b) for a in range(len(self.objects)) for b in range(len(self.objects)) if a != b)
        return {pair: found for pair in pairs if (found := self.relation(*pair)) is not None}

    def counts(self) -> dict[str, int]:
        """How many there are of each name."""
        found: dict[str, int] = {}
        for item in self.objects:
            found[item.name] = found.get(item.name, 0) + 1
        return found

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file, at the fastest compression."""
        buffer = io.BytesIO()
        picture = PILImage.fromarray(self.pixels)
        picture.save(buffer, format="PNG", compress_level=1, compress_type=_RUN_LENGTH)
        return buffer.getvalue()

    def image(self) -> Image:
        """The picture as a record's content."""
        return Image(bytes=self.png, width=self.side, height=self.side)

    def describe(self) -> dict[str, Any]:
        """The truth as plain JSON values: background, and for each object its name, kind, boxes, place …"""
        return {
            "side": self.side,
            "background": self.background,
            "objects": [
                {
                    "name": item.name,
                    "kind": item.kind,
                    "colour": item.colour,
                    "box": list(item.box),
                    "place": item.place,
                    "cell": item.cell,
                    "size": item.size,
                    "depth": item.depth,
                    "visible": round(item.visible, 4),
                }
                for item in self.objects
            ],
        }

    def regions(self, shape: str = "box") -> list[Region]:
        """A region for each object: ``box``, ``rotated``, or ``mask`` (what is seen of it)."""
        if shape == "box":
            return [Region(label=item.name, box=item.box) for item in self.objects]
        if shape == "rotated":
            boxes = [self.rotated_box(i) for i in range(len(self.objects))]
            return [
                Region(label=item.name, rotated=box)  # type: ignore[arg-type]
                for item, box in zip(self.objects, boxes, strict=True)
            ]
        if shape == "mask":
            return [
                Region(label=item.name, mask=masks.encode(self.visible_mask(i)))
                for i, item in enumerate(self.objects)
            ]
        raise ValueError(f"shape is {shape!r}; use 'box', 'rotated' or 'mask'")
