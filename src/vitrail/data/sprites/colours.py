"""Pixels → the eleven basic colour words (Berlin and Kay, 1969), by lightness, chroma and hue in Oklab.

Borders between two words are zones, and a pixel in a zone counts for neither: a thing has a colour only if
a clear majority of its pixels has it (:func:`dominant`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

NAMES = ("black", "gray", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
UNSURE = -1

# Share of the pixels that the first word needs, and that the second may have at most.
MAJORITY, REST = 0.62, 0.22

_RGB_TO_CONES = np.array(
    [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ]
)
_CONES_TO_LAB = np.array(
    [
        [0.2104542553, 1.9779984951, 0.0259040371],
        [0.7936177850, -2.4285922050, 0.7827717662],
        [-0.0040720468, 0.4505937099, -0.8086757660],
    ]
)

Labels = npt.NDArray[np.int8]


def oklab(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Oklab ``(..., 3)`` of sRGB values 0 to 255 (Ottosson, 2020): lightness 0 to 1, two opponent axes."""
    c = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _RGB_TO_CONES) @ _CONES_TO_LAB


def words(rgb: npt.ArrayLike) -> Labels:
    """Indices into :data:`NAMES` for colours ``(..., 3)``; :data:`UNSURE` in a zone between two words."""
    lab = oklab(rgb)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.rad2deg(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    warm = (hue > 30) & (hue < 100)
    rosy = (hue >= 352) | (hue < 36)
    # Chroma that a colour needs to be seen; less than half of it is none.
    seen, plain = chroma > 0.055, chroma < 0.03
    deep = (light < 0.60) | ((light < 0.66) & (chroma < 0.11))
    rules = {
        "pink": seen & ((hue >= 335) | (hue < 25)) & (light > 0.68) & (chroma < 0.22),
        "purple": seen & (hue >= 295) & (hue < 335) & (light < 0.85),
        "blue": seen & (hue >= 215) & (hue < 285),
        "green": seen & (hue >= 114) & (hue < 178),
        "yellow": (chroma > 0.1) & (hue >= 92) & (hue < 112) & (light > 0.74),
        "orange": (chroma > 0.11) & (hue >= 44) & (hue < 79) & (light > 0.66),
        "red": (chroma > 0.13) & rosy & (light < 0.70),
        "brown": seen & warm & deep & (light > 0.25),
        "white": plain & (light > 0.93),
        "gray": plain & (light > 0.44) & (light < 0.89),
        "black": plain & (light < 0.38),
    }
    labels = np.full(light.shape, UNSURE, dtype=np.int8)
    for word, rule in rules.items():
        labels[rule] = NAMES.index(word)
    return labels


# A typical shade of each word: what :func:`recoloured` paints with.
SHADES = {
    "black": (40, 40, 40),
    "gray": (150, 150, 150),
    "white": (252, 252, 252),
    "red": (214, 48, 42),
    "orange": (240, 150, 45),
    "yellow": (252, 228, 40),
    "green": (80, 165, 60),
    "blue": (75, 150, 225),
    "purple": (140, 95, 180),
    "pink": (252, 150, 190),
    "brown": (140, 90, 50),
}


def recoloured(sprite: npt.NDArray[np.uint8], word: str) -> npt.NDArray[np.uint8]:
    """A sprite ``(rows, cols, 4)`` in shades of one colour, black lines kept. ValueError for no such word."""
    if word not in SHADES:
        raise ValueError(f"colour is {word!r}; use one of {', '.join(NAMES)}")
    lab = oklab(sprite[..., :3])
    lines = (lab[..., 0] < 0.38) & (np.hypot(lab[..., 1], lab[..., 2]) < 0.03)
    body = (sprite[..., 3] >= 128) & ~lines
    target = oklab(SHADES[word])
    middle = float(lab[body][:, 0].mean()) if body.any() else 0.5
    # A tenth of the drawing's own contrast: enough to see its parts, too little to leave the word's range.
    shaded = np.broadcast_to(target, lab.shape).copy()
    shaded[..., 0] += np.clip(0.1 * (lab[..., 0] - middle), -0.03, 0.03)
    painted = sprite.copy()
    painted[..., :3] = np.where(lines[..., None], sprite[..., :3], _to_rgb(shaded))
    return painted


def _to_rgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    cones = lab @ np.linalg.inv(_CONES_TO_LAB)
    linear = np.clip(cones**3 @ np.linalg.inv(_RGB_TO_CONES), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


@cache
def _table() -> Labels:
    """The word of every colour on a 32 × 32 × 32 grid: looking up is far faster than computing."""
    steps = np.arange(32) * 8 + 4
    return words(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1))


def label_pixels(rgb: npt.NDArray[np.uint8]) -> Labels:
    """:func:`words` of a picture ``(rows, cols, 3)``, to an accuracy of 8 levels a channel."""
    coarse = rgb >> 3
    return _table()[coarse[..., 0], coarse[..., 1], coarse[..., 2]]


def dominant(sprite: npt.NDArray[np.uint8]) -> str | None:
    """The colour word of a sprite ``(rows, cols, 4)``, or None if none clearly dominates.

    Black lines that outline a drawing do not count: what is left of the black after an opening (of a 24th of
    the sprite's longer side) is black area, the rest is line. A drawing of lines alone has no colour.
    """
    from scipy import ndimage

    inside = sprite[..., 3] >= 128
    labels = label_pixels(sprite[..., :3])
    black = inside & (labels == NAMES.index("black"))
    reach = max(1, max(sprite.shape[:2]) // 48)
    area = ndimage.binary_opening(np.pad(black, reach), np.ones((2 * reach + 1,) * 2))
    lines = black & ~area[reach:-reach, reach:-reach]
    body = inside & ~lines
    # The edges of lines are blended pixels of in-between colours: taken off the body where enough is left.
    core = body & ~ndimage.binary_dilation(lines, iterations=max(1, reach // 2))
    if 3 * np.count_nonzero(core) > np.count_nonzero(body):
        body = core
    total = np.count_nonzero(body)
    if total < 0.3 * np.count_nonzero(inside):
        return None
    shares = np.bincount(labels[body] + 1, minlength=len(NAMES) + 1)[1:] / total
    order = np.argsort(-shares, kind="stable")
    sure = shares[order[0]] >= MAJORITY and shares[order[1]] <= REST
    return NAMES[int(order[0])] if sure else None
