"""Tux Paint's stamps: cut-out photographs and drawings with captions in more than sixty languages.

They come with Debian's ``tuxpaint-stamps-default`` (the whole is GPL-2+; each stamp's origin is in the
package's documentation). A stamp is used if its English caption is a short name ("A brown hen."); its folder
says its kind. Where two stamps have one name, the photograph is taken before the cartoon.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from vitrail.data.sprites.library import Sprite, SpriteLibrary, Thing

FOLDER = Path("/usr/share/tuxpaint/stamps")
_CAPTION = re.compile(r"^(A pair of|A|An|Some) ([A-Za-z][A-Za-z' -]{1,27})[.!]?$")

# The first folder that a stamp's path starts with decides; what is not listed is not used.
_KINDS = {
    "animals/mammals/aquatic": "sea creature",
    "animals/mammals/bears/cartoon": None,
    "animals/mammals/bears/toys": "toy",
    "animals/birds": "bird",
    "animals/fish": "sea creature",
    "animals/shellfish": "sea creature",
    "animals/insects": "bug",
    "animals/lizards": "reptile",
    "animals/reptiles": "reptile",
    "animals/mammals": "mammal",
    "animals/marsupials": "mammal",
    "clothes": "clothing",
    "food/fruit": "fruit",
    "food/vegetables": "vegetable",
    "food/nuts": "food",
    "food/dessert": "food",
    "hobbies/music": "musical instrument",
    "household/arttools": "office item",
    "household/electronics": "device",
    "household/tools": "tool",
    "household": "household item",
    "medical": "medical item",
    "plants": "plant",
    "sports": "sports item",
    "town/houses": "building",
    "town/monuments": "building",
    "vehicles": "vehicle",
}


class TuxPaint(SpriteLibrary):
    """The stamps under ``folder``. ValueError if the Debian package is not installed."""

    name = "tuxpaint"
    licence = "GPL-2.0-or-later"
    credit = "Pictures: Tux Paint stamps, tuxpaint.org"
    drawn_by = f"Pillow {PIL.__version__}"

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(
                f"{self.folder} is not there; install the stamps: apt-get install tuxpaint-stamps-default"
            )
        super().__init__(_find(self.folder))

    def draw(self, thing: Thing, side: int) -> Sprite:
        """The stamp as it is stored; enlarging happens afterwards where it is too small."""
        with Image.open(self.folder / thing.key) as picture:
            picture.thumbnail((4 * side, 4 * side), Image.Resampling.BOX)
            return np.asarray(picture.convert("RGBA"))

    def content(self, thing: Thing) -> bytes:
        """The PNG file."""
        return (self.folder / thing.key).read_bytes()

    def translated(self, name: str, language: str) -> str | None:
        """The stamp's caption in a language (``"es"``), without its full stop, or None."""
        return captions(self.folder / self[name].key).get(language)


def captions(stamp: Path) -> dict[str, str]:
    """Captions by language code, of the ``.txt`` beside a stamp; English is its first line."""
    path = stamp.with_suffix(".txt")
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = {"en": lines[0].strip()} if lines else {}
    for line in lines[1:]:
        language, separator, text = line.partition(".utf8=")
        if separator:
            found.setdefault(language.strip(), text.strip().rstrip("."))
    return found


def _kind(path: str) -> str | None:
    return next((kind for folder, kind in _KINDS.items() if path.startswith(folder + "/")), None)


def _find(folder: Path) -> tuple[Thing, ...]:
    found: dict[str, Thing] = {}
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    for path in sorted(paths, key=lambda path: ("/cartoon/" in path, path)):
        kind, match = _kind(path), _CAPTION.match(captions(folder / path).get("en", ""))
        if kind is None or match is None or path.endswith("_mirror.png"):
            continue
        name = match[2].lower()
        if len(name.split()) <= 3 and name not in found:
            number = "one" if match[1] in ("A", "An") else "several"
            found[name] = Thing(name, kind, path, number, _plural(name) if number == "one" else "")  # type: ignore[arg-type]
    return tuple(found[name] for name in sorted(found))


def _plural(name: str) -> str:
    irregular = {
        "mouse": "mice",
        "goose": "geese",
        "sheep": "sheep",
        "deer": "deer",
        "fish": "fish",
        "knife": "knives",
    }
    head, space, last = name.rpartition(" ")
    if last in irregular:
        return head + space + irregular[last]
    if re.search("[^aeiou]y$", last):
        return name[:-1] + "ies"
    return name + ("es" if re.search("(s|x|z|ch|sh)$", last) else "s")
