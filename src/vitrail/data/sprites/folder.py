"""A user's folder of pictures: each sub-folder is a kind, each file's name is the thing's name.

``pets/grey-cat.png`` is a "grey cat" of kind "pets", and ``pets/grey-cat.txt`` beside it may hold a line about it. A
picture with transparency is cut out by it; one without is used whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.data.sprites.library import Sprite, SpriteLibrary, Thing

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 64_000_000
"""A picture with more is refused before it is decoded."""


class Folder(SpriteLibrary):
    """Pictures under ``path``. ValueError if there are none, or if two have one name."""

    licence = "the user's own"
    credit = ""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        if not self.path.is_dir():
            raise ValueError(
                f"{self.path} is not a folder; give one with a sub-folder for each kind of thing"
            )
        files = sorted(
            (file for file in self.path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()),
            key=lambda file: file.relative_to(self.path).as_posix(),
        )
        if not files:
            raise ValueError(
                f"{self.path} holds no pictures ({', '.join(SUFFIXES)}); "
                "put some into a sub-folder for each kind of thing"
            )
        super().__init__(tuple(self._thing(file) for file in files))

    def _thing(self, file: Path) -> Thing:
        relative = file.relative_to(self.path)
        kind = " ".join(_spoken(part) for part in relative.parts[:-1][-1:]) or "thing"
        name = _spoken(relative.stem)
        return Thing(name, kind, relative.as_posix(), plural=name + "s")

    def draw(self, thing: Thing, side: int) -> Sprite:
        """The picture as RGBA, reduced where it is much larger than ``side``."""
        with Image.open(self.path / thing.key) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{self.path / thing.key} has {picture.width} × {picture.height} pixels, "
                    f"more than the {MAX_PIXELS:,} allowed; make it smaller"
                )
            picture.thumbnail((4 * side, 4 * side), Image.Resampling.BOX)
            return np.asarray(picture.convert("RGBA"))

    def line(self, name: str) -> str:
        """What the text file beside a thing's picture says, on one line; empty where there is none."""
        beside = (self.path / self[name].key).with_suffix(".txt")
        return " ".join(beside.read_text(encoding="utf-8").split()) if beside.is_file() else ""

    def content(self, thing: Thing) -> bytes:
        """The picture file."""
        return (self.path / thing.key).read_bytes()


def _spoken(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())
