"""What things stand on: plain colours, gradients and soft textures in shades of one colour word."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrail.data.scenes.draws import Draws

Pixels = npt.NDArray[np.uint8]

SHADES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "white": ((255, 255, 255), (247, 246, 243)),
    "gray": ((214, 214, 212), (176, 178, 178)),
    "yellow": ((255, 244, 176), (250, 226, 120)),
    "orange": ((255, 206, 150), (245, 178, 108)),
    "pink": ((255, 214, 226), (248, 178, 200)),
    "red": ((226, 110, 100), (204, 82, 76)),
    "brown": ((176, 140, 106), (146, 110, 78)),
    "green": ((196, 228, 176), (140, 196, 124)),
    "blue": ((196, 224, 248), (132, 184, 232)),
    "purple": ((214, 200, 236), (178, 158, 214)),
}
STYLES = ("plain", "gradient", "texture")
_TEXTURES = 16
_GRAIN = 10


def background(word: str, style: str, side: int, draws: Draws) -> Pixels:
    """A background ``(side, side, 3)`` in shades of ``word``; ``style`` is one of :data:`STYLES`."""
    light, deep = (np.array(shade, dtype=np.int32) for shade in SHADES[word])
    base = light + (deep - light) * draws.integer(0, 8) // 8
    if style == "plain":
        return np.broadcast_to(base.astype(np.uint8), (side, side, 3)).copy()
    if style == "gradient":
        steps = light + (deep - light) * np.arange(256)[:, None] // 255
        return _painted(_ramp(side, draws.integer(0, 7)), steps)
    if style == "texture":
        steps = np.clip(base + np.arange(-_GRAIN, _GRAIN + 1)[:, None], 0, 255)
        return _painted(_texture(side, draws.integer(0, _TEXTURES - 1)), steps)
    raise ValueError(f"style is {style!r}; use one of {', '.join(STYLES)}")


def _painted(levels: Pixels, steps: npt.NDArray[np.int32]) -> Pixels:
    """Levels ``(side, side)`` as colours ``(side, side, 3)``; a palette is ten times as fast as indexing."""
    picture = Image.fromarray(levels).convert("P")
    picture.putpalette(steps.astype(np.uint8).tobytes())
    return np.array(picture.convert("RGB"))


@lru_cache(maxsize=64)
def _ramp(side: int, direction: int) -> Pixels:
    """0 to 255 in whole numbers across the picture, in one of eight directions."""
    line = np.arange(side, dtype=np.int32) * 255 // max(1, side - 1)
    across, down = np.broadcast_to(line, (side, side)), np.broadcast_to(line[:, None], (side, side))
    ramp = (across, down, (across + down) // 2, (across + 255 - down) // 2)[direction % 4]
    return (255 - ramp if direction >= 4 else ramp).astype(np.uint8)


@lru_cache(maxsize=64)
def _texture(side: int, number: int) -> Pixels:
    """Smooth noise from 0 to twice the grain, in even steps: few levels, so that the picture packs small."""
    cells = 5 + 3 * (number % 4)
    coarse = Draws("texture", number).bytes(cells, cells)
    smooth = np.asarray(
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), dtype=np.int32
    )
    return (smooth * (_GRAIN + 1) // 256 * 2).astype(np.uint8)
