"""One interface over every set of named pictures with a transparent surrounding."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrail.data.sprites import colours
from vitrail.registry import nearest
from vitrail.storage.cache import FolderCache, key

Sprite = npt.NDArray[np.uint8]
"""Red, green, blue, alpha ``(rows, cols, 4)``, not premultiplied."""


@dataclass(frozen=True)
class Thing:
    """A named picture. ``key`` is what the library finds it by (code points, a path relative to its folder).

    ``number`` says how its name is counted: ``one`` ("a banana"), ``several`` ("cherries") or ``mass``
    ("butter"); ``plural`` is there for ``one`` only. ``also`` holds other kinds, and names of other things,
    that a fair judge would accept for it: such an option is never offered as a wrong answer.
    """

    name: str
    kind: str
    key: str
    number: Literal["one", "several", "mass"] = "one"
    plural: str = ""
    also: frozenset[str] = frozenset()

    @property
    def phrase(self) -> str:
        """The name with its indefinite article, if it takes one: "a banana", "an ant", "cherries"."""
        if self.number != "one":
            return self.name
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


class SpriteLibrary(ABC, Mapping[str, Thing]):
    """Things by name, their pictures, licence and fingerprint.

    A subclass gives the things in a fixed order, ``draw`` (a picture at about the asked size) and ``content``
    (the bytes that decide how a thing looks).
    """

    name: str
    licence: str
    credit: str
    master_side = 160
    """Longer side in pixels at which a picture is kept; smaller renderings are made from it."""
    masters_kept = 1024
    """Pictures kept in memory (about 80 kB each)."""
    drawn_by: str | None = None
    """What draws the files, with its version. Drawn once a machine where it is given, else once a process."""

    def __init__(self, things: tuple[Thing, ...]) -> None:
        self._things = {thing.name: thing for thing in things}
        if len(self._things) != len(things):
            names = [thing.name for thing in things]
            double = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{double!r} names two sprites; rename one of them")
        self._masters: dict[str, Sprite] = {}
        self._colours: dict[str, str | None] = {}

    @abstractmethod
    def draw(self, thing: Thing, side: int) -> Sprite:
        """The picture of a thing, its longer side at least ``side`` pixels where its source allows."""

    @abstractmethod
    def content(self, thing: Thing) -> bytes:
        """The bytes of the file that the picture comes from."""

    def translated(self, name: str, language: str) -> str | None:
        """The name in a language (``"es"``), or None where the library does not know it."""
        return None

    def __getitem__(self, name: str) -> Thing:
        try:
            return self._things[name]
        except KeyError:
            raise KeyError(
                f"{self.name} has no sprite {name!r}; {nearest(name, list(self._things))}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the library's order."""
        return tuple(self._things)

    @cached_property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The names of each kind, kinds in order of first appearance."""
        found: dict[str, list[str]] = {}
        for thing in self._things.values():
            found.setdefault(thing.kind, []).append(thing.name)
        return {kind: tuple(names) for kind, names in found.items()}

    def _master(self, name: str) -> Sprite:
        """The picture cropped to what is visible, ``master_side`` pixels long, premultiplied. Kept in memory."""
        if name not in self._masters:
            if len(self._masters) >= self.masters_kept:
                self._masters.pop(next(iter(self._masters)))
            self._masters[name] = self._cached(name)
        return self._masters[name]

    def _cached(self, name: str) -> Sprite:
        """The master as another process drew it, if one did: drawing all of OpenMoji takes seconds."""
        if self.drawn_by is None:
            return self._drawn(name)
        made_of = ("sprite", 1, self.drawn_by, self.master_side, self.content(self[name]))

        def draw(folder: Path) -> None:
            np.save(folder / "master.npy", self._drawn(name))

        try:
            folder = FolderCache().get_or_make(key(*made_of), draw)
            return np.asarray(np.load(folder / "master.npy", allow_pickle=False))
        except OSError:
            # No place to write is no reason not to draw.
            return self._drawn(name)

    def _drawn(self, name: str) -> Sprite:
        cropped = premultiplied(_cropped(self.draw(self[name], self.master_side), name))
        return _resized(cropped, self.master_side)

    def render_premultiplied(self, name: str, size: int) -> Sprite:
        """As :meth:`render`, with red, green and blue already multiplied by alpha. Do not write into it."""
        if size < 1:
            raise ValueError(f"size is {size}; give at least 1 pixel")
        if size <= self.master_side:
            return _resized(self._master(name), size)
        return _resized(premultiplied(_cropped(self.draw(self[name], size), name)), size)

    def render(self, name: str, size: int) -> Sprite:
        """The picture cropped to what is visible, its longer side ``size`` pixels."""
        return straight(self.render_premultiplied(name, size))

    def colour(self, name: str) -> str | None:
        """One of eleven basic colour words if one clearly dominates the picture, else None."""
        if name not in self._colours:
            self._colours[name] = colours.dominant(self.render(name, self.master_side))
        return self._colours[name]

    def know_colours(self, colours: Mapping[str, str | None]) -> None:
        """Take colour words as given (a frozen suite's) instead of deriving them from pixels."""
        self._colours.update(colours)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, kinds and picture files."""
        return self.fingerprint_of(self.names)

    def fingerprint_of(self, names: tuple[str, ...] | list[str]) -> str:
        """SHA-256 over the given things: all that decides how they look and what they are called."""
        digest = hashlib.sha256()
        for name in names:
            thing = self[name]
            row = (thing.name, thing.kind, thing.number, thing.plural, *sorted(thing.also))
            digest.update("\x1f".join(row).encode() + b"\x1e" + hashlib.sha256(self.content(thing)).digest())
        return digest.hexdigest()


def _cropped(sprite: Sprite, name: str) -> Sprite:
    visible = sprite[..., 3] >= 128
    rows, cols = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if len(rows) == 0:
        raise ValueError(f"the picture of {name!r} is transparent everywhere; remove it from its folder")
    return sprite[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def premultiplied(sprite: Sprite) -> Sprite:
    """Red, green and blue multiplied by alpha: the form in which pictures may be resized, turned and blended.

    In whole numbers and not by Pillow, whose rounding here has changed between versions.
    """
    wide = sprite.astype(np.uint16)
    wide[..., :3] = (wide[..., :3] * wide[..., 3:] + 127) // 255
    return wide.astype(np.uint8)


def straight(sprite: Sprite) -> Sprite:
    """The reverse of :func:`premultiplied`; colours of invisible pixels are black."""
    wide = sprite.astype(np.uint16)
    alpha = np.maximum(wide[..., 3:], 1)
    wide[..., :3] = np.minimum((wide[..., :3] * 255 + alpha // 2) // alpha, 255)
    return wide.astype(np.uint8)


def four_bands(sprite: Sprite) -> Image.Image:
    """A premultiplied sprite for Pillow, in a mode whose bands it treats alike."""
    return Image.frombytes("CMYK", (sprite.shape[1], sprite.shape[0]), np.ascontiguousarray(sprite).tobytes())


def _resized(sprite: Sprite, side: int) -> Sprite:
    """A premultiplied sprite with its longer side ``side`` pixels: each pixel the mean of what it covers.

    Every number below is a whole one that its type holds exactly, so that all machines and versions agree to
    the bit (those of Pillow's filters do not).
    """
    rows, cols = sprite.shape[:2]
    longer = max(rows, cols)
    width, height = (max(1, (2 * length * side + longer) // (2 * longer)) for length in (cols, rows))
    if (width, height) == (cols, rows):
        return sprite
    exact: Any = np.float32 if 255 * rows * cols < 2**24 else np.float64
    planes = sprite.transpose(2, 0, 1).astype(exact, order="C")
    sums = _cover(rows, height).astype(exact) @ planes @ _cover(cols, width).astype(exact).T
    # A quotient is at least 1 / (rows * cols) off the next whole number, which float64 tells apart.
    means = np.floor((sums.astype(np.float64) + rows * cols // 2) / (rows * cols))
    return means.astype(np.uint8).transpose(1, 2, 0).copy()


@lru_cache(maxsize=1024)
def _cover(source: int, target: int) -> npt.NDArray[np.float32]:
    """How much of each of ``source`` pixels each of ``target`` pixels covers: rows that sum to ``source``."""
    out, into = np.arange(target)[:, None] * source, np.arange(source)[None] * target
    shared = np.minimum(out + source, into + target) - np.maximum(out, into)
    return np.maximum(shared, 0).astype(np.float32)


def library(name: str) -> SpriteLibrary:
    """``"openmoji"``, ``"tuxpaint"``, or the path of a folder of pictures.

    ValueError if there is no such library or folder; ImportError naming the extra if a package is missing.
    """
    if name == "openmoji":
        from vitrail.data.sprites.openmoji import OpenMoji

        return OpenMoji()
    if name == "tuxpaint":
        from vitrail.data.sprites.tuxpaint import TuxPaint

        return TuxPaint()
    if Path(name).is_dir():
        from vitrail.data.sprites.folder import Folder

        return Folder(Path(name))
    raise ValueError(f"no sprites are called {name!r}; use 'openmoji', 'tuxpaint' or the path of a folder")
