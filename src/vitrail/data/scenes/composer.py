"""Things → a scene: what was asked for is laid out, then painted.

:func:`compose` finds places for the items of a :class:`Spec` (:class:`Placement`), :func:`paint` paints
placements. A changed placement painted again gives the same picture but for the change: that is how
before/after pairs and videos are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrail.data.scenes.backgrounds import SHADES, STYLES, background
from vitrail.data.scenes.draws import Draws
from vitrail.data.scenes.objects import PLACES, Scene, SceneObject
from vitrail.data.sprites import SpriteLibrary
from vitrail.data.sprites.colours import recoloured
from vitrail.data.sprites.library import four_bands, premultiplied, straight

Area = tuple[float, float, float, float]
"""Where a centre may lie: lowest x, lowest y, highest x, highest y, as fractions of the picture's side."""

WHOLE: Area = (0.0, 0.0, 1.0, 1.0)
AREAS: dict[str, Area] = {
    "top left": (0.0, 0.0, 0.40, 0.40),
    "top right": (0.60, 0.0, 1.0, 0.40),
    "bottom left": (0.0, 0.60, 0.40, 1.0),
    "bottom right": (0.60, 0.60, 1.0, 1.0),
    "center": (0.45, 0.45, 0.55, 0.55),
}
SIZES: tuple[tuple[float, float], ...] = ((0.4, 0.72), (0.32, 0.52), (0.28, 0.46), (0.26, 0.42), (0.22, 0.34))
"""Lowest and highest longer side (fraction of the picture's) in a scene of one, two, … five things."""


@dataclass(frozen=True)
class Item:
    """A thing to be put into a scene: where its centre may lie, and a colour word to repaint it in."""

    name: str
    area: Area = WHOLE
    colour: str | None = None


@dataclass(frozen=True)
class Spec:
    """What a scene shall hold. ``sizes`` (fractions of ``side``) default to :data:`SIZES` for so many."""

    items: tuple[Item, ...]
    side: int = 224
    sizes: tuple[float, float] | None = None
    turn: int = 25
    """Things are turned by up to so many degrees either way."""
    flips: bool = True
    overlap: float = 0.25
    """Two boxes share at most this fraction of the smaller one."""
    min_visible: float = 0.6
    """At least this share of each thing's pixels is seen."""


@dataclass(frozen=True)
class Placement:
    """A thing as it is painted: centre and longer side before turning (pixels), degrees counter-clockwise."""

    name: str
    x: float
    y: float
    size: int
    angle: int = 0
    flipped: bool = False
    colour: str | None = None
    depth: int = 0


@dataclass(frozen=True)
class _Cutout:
    """A sprite ready to be painted: turned, flipped, cropped to its mask, premultiplied by alpha."""

    rgba: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        return self.rgba.shape[0], self.rgba.shape[1]


def _cut(library: SpriteLibrary, placement: Placement) -> _Cutout:
    sprite = library.render_premultiplied(placement.name, placement.size)
    if placement.colour is not None:
        sprite = premultiplied(recoloured(straight(sprite), placement.colour))
    if placement.flipped:
        sprite = sprite[:, ::-1]
    if placement.angle % 360:
        turned = four_bands(sprite).rotate(placement.angle, resample=Image.Resampling.BILINEAR, expand=True)
        sprite = np.asarray(turned)
    seen = sprite[..., 3] >= 128
    rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        raise ValueError(f"{placement.name!r} vanishes at {placement.size} pixels; make it larger")
    return _Cutout(sprite[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1])


def _blend(under: npt.NDArray[np.uint8], over: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """``over (rows, cols, 4)``, premultiplied, upon ``under (rows, cols, 3)``."""
    through = 255 - over[..., 3:].astype(np.uint16)
    mixed = (under * through + 127) // 255 + over[..., :3]
    return np.minimum(mixed, 255).astype(np.uint8)


def paint(
    library: SpriteLibrary, placements: Sequence[Placement], backdrop: npt.NDArray[np.uint8], word: str
) -> Scene:
    """The scene of ``placements`` on a background ``(side, side, 3)`` of colour ``word``.

    What sticks out is moved inside. ValueError for a thing larger than the picture.
    """
    cutouts = [_cut(library, placement) for placement in placements]
    return _paint(library, placements, cutouts, backdrop, word)


def _paint(
    library: SpriteLibrary,
    placements: Sequence[Placement],
    cutouts: Sequence[_Cutout],
    backdrop: npt.NDArray[np.uint8],
    word: str,
) -> Scene:
    side = backdrop.shape[0]
    canvas = backdrop.copy()
    labels = np.zeros((side, side), dtype=np.uint8)
    boxes, outlines = [], []
    for placement, cutout in zip(placements, cutouts, strict=True):
        boxes.append(_box(placement, cutout, side))
        outlines.append(cutout.rgba[..., 3] >= 128)
    for index in sorted(range(len(placements)), key=lambda i: placements[i].depth):
        x1, y1, x2, y2 = boxes[index]
        canvas[y1:y2, x1:x2] = _blend(canvas[y1:y2, x1:x2], cutouts[index].rgba)
        labels[y1:y2, x1:x2][outlines[index]] = index + 1
    seen = np.bincount(labels.ravel(), minlength=len(placements) + 1)[1:]
    objects = tuple(
        SceneObject(
            thing=library[placement.name],
            box=boxes[i],
            outline=outlines[i],
            depth=placement.depth,
            angle=placement.angle,
            flipped=placement.flipped,
            colour=placement.colour or library.colour(placement.name),
            side=side,
            visible=float(seen[i]) / max(1, int(np.count_nonzero(outlines[i]))),
        )
        for i, placement in enumerate(placements)
    )
    return Scene(canvas, labels, objects, word, tuple(placements), backdrop)


def _box(placement: Placement, cutout: _Cutout, side: int) -> tuple[int, int, int, int]:
    rows, cols = cutout.shape
    if max(rows, cols) > side:
        raise ValueError(f"{placement.name!r} needs {max(rows, cols)} pixels, but the picture has {side}")
    x1 = min(max(0, math.floor(placement.x - cols / 2 + 0.5)), side - cols)
    y1 = min(max(0, math.floor(placement.y - rows / 2 + 0.5)), side - rows)
    return x1, y1, x1 + cols, y1 + rows


def compose(library: SpriteLibrary, spec: Spec, draws: Draws) -> Scene:
    """A scene of what ``spec`` asks for. Equal ``spec`` and stream of ``draws``, equal scene.

    ValueError if there is nothing to show, or no arrangement that keeps everything visible enough.
    """
    if not spec.items:
        raise ValueError("items is empty; ask for at least one thing")
    taken = {item.colour or library.colour(item.name) for item in spec.items}
    word = draws.pick([shade for shade in SHADES if shade not in taken] or list(SHADES))
    backdrop = background(word, draws.pick(STYLES), spec.side, draws)
    low, high = spec.sizes or SIZES[min(len(spec.items), len(SIZES)) - 1]
    for attempt in range(12):
        shrink = 1.0 if attempt < 4 else 0.9 ** (attempt - 3)
        sized = _unplaced(spec, (low * shrink, high * shrink), draws)
        cutouts = [_cut(library, placement) for placement in sized]
        placements = _arrange(spec, sized, cutouts, draws)
        if placements is None:
            continue
        scene = _paint(library, placements, cutouts, backdrop, word)
        if all(item.visible >= spec.min_visible for item in scene.objects):
            return scene
    raise ValueError(
        f"no arrangement of {len(spec.items)} things of {low:.0%} to {high:.0%} of the picture keeps each "
        f"{spec.min_visible:.0%} visible; ask for fewer or smaller things"
    )


def _unplaced(spec: Spec, sizes: tuple[float, float], draws: Draws) -> list[Placement]:
    """Sizes, turns, flips and depths of the items; centres come later."""
    depths = draws.shuffled(range(len(spec.items)))
    return [
        Placement(
            name=item.name,
            x=0.0,
            y=0.0,
            size=max(8, int(draws.uniform(*sizes) * spec.side)),
            angle=draws.integer(-spec.turn, spec.turn) if draws.chance(0.7) else 0,
            flipped=spec.flips and draws.chance(0.5),
            colour=item.colour,
            depth=depth,
        )
        for item, depth in zip(spec.items, depths, strict=True)
    ]


def _arrange(
    spec: Spec, sized: list[Placement], cutouts: list[_Cutout], draws: Draws
) -> list[Placement] | None:
    """Centres within the items' areas, boxes not overlapping too much; None where none was found."""
    order = sorted(range(len(sized)), key=lambda i: (spec.items[i].area == WHOLE, i))
    boxes: dict[int, tuple[int, int, int, int]] = {}
    placed = list(sized)
    for index in order:
        rows, cols = cutouts[index].shape
        if max(rows, cols) > spec.side:
            return None
        for _ in range(24):
            x = _within(spec.items[index].area[0::2], cols / spec.side, draws)
            y = _within(spec.items[index].area[1::2], rows / spec.side, draws)
            if x is None or y is None:
                return None
            candidate = replace(sized[index], x=x * spec.side, y=y * spec.side)
            box = _box(candidate, cutouts[index], spec.side)
            if all(_shared(box, other) <= spec.overlap for other in boxes.values()):
                boxes[index], placed[index] = box, candidate
                break
        else:
            return None
    return placed


def _within(limits: tuple[float, ...], length: float, draws: Draws) -> float | None:
    """A centre within ``limits`` that keeps a thing of ``length`` inside the picture, or None."""
    low, high = max(limits[0], length / 2), min(limits[1], 1 - length / 2)
    return draws.uniform(low, high) if low <= high else None


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """The boxes' common area as a fraction of the smaller box."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def area_of(place: str) -> Area:
    """The area whose centres are surely at ``place``. ValueError for a place that is none."""
    if place not in AREAS:
        raise ValueError(f"place is {place!r}; use one of {', '.join(PLACES)}")
    return AREAS[place]
