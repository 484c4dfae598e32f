"""Common corruptions of pictures in five severities: noise, blur, weather, digital, space.

After Hendrycks & Dietterich, *Benchmarking neural network robustness to common corruptions* (arXiv 1903.12261), with
Pillow and numpy alone; strengths are this library's, so that figures compare with its own only. A picture keeps its
size. What is drawn at random comes from ``draws``.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

_Array = np.ndarray
_Draws = np.random.Generator
_Corruption = Callable[[Image.Image, int, _Draws], Image.Image]


def corrupt_picture(picture: Image.Image, kind: str, severity: int, draws: _Draws) -> Image.Image:
    """An RGB picture corrupted by ``kind`` (of :data:`PICTURES`) at ``severity`` 1 to 5. ValueError for others."""
    if kind not in _KINDS or not 1 <= severity <= 5:
        raise ValueError(f"kind is {kind!r} and severity {severity}; use {', '.join(PICTURES)} and 1 to 5")
    return _KINDS[kind](picture.convert("RGB"), severity - 1, draws)


def _noisy(picture: Image.Image, noise: Callable[[_Array], _Array]) -> Image.Image:
    x = np.asarray(picture, dtype=np.float32) / 255
    return Image.fromarray((np.clip(noise(x), 0, 1) * 255).round().astype(np.uint8))


def _gaussian_noise(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    scale = (0.06, 0.1, 0.16, 0.24, 0.36)[s]
    return _noisy(picture, lambda x: x + draws.normal(0, scale, x.shape))


def _shot_noise(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    light = (60, 30, 14, 7, 3)[s]
    return _noisy(picture, lambda x: draws.poisson(x * light) / light)


def _impulse_noise(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    share = (0.02, 0.05, 0.1, 0.18, 0.3)[s]

    def noise(x: _Array) -> _Array:
        where = draws.random(x.shape[:2])
        x = x.copy()
        x[where < share / 2], x[where > 1 - share / 2] = 0, 1
        return x

    return _noisy(picture, noise)


def _radius(picture: Image.Image, share: float) -> float:
    """A share of the shorter side, so that large pictures are not spared."""
    return max(0.5, share * min(picture.size))


def _gaussian_blur(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    radius = _radius(picture, (0.006, 0.012, 0.02, 0.032, 0.05)[s])
    return picture.filter(ImageFilter.GaussianBlur(radius))


def _motion_blur(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    length = max(2, round(_radius(picture, (0.02, 0.04, 0.07, 0.11, 0.16)[s])))
    x = np.asarray(picture, dtype=np.float32)
    axis = int(draws.integers(2))
    padded = np.pad(x, [(length, length) if a == axis else (0, 0) for a in range(3)], mode="edge")
    shifts = [np.roll(padded, step, axis) for step in range(-(length // 2), length - length // 2)]
    mean = np.mean(shifts, axis=0)
    cut = mean[length:-length] if axis == 0 else mean[:, length:-length]
    return Image.fromarray(cut.round().clip(0, 255).astype(np.uint8))


def _pixelate(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    share = (0.5, 0.36, 0.25, 0.17, 0.11)[s]
    size = tuple(max(1, round(side * share)) for side in picture.size)
    small = picture.resize(size, Image.Resampling.BOX)  # type: ignore[arg-type]
    return small.resize(picture.size, Image.Resampling.NEAREST)


def _jpeg(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=(30, 20, 12, 7, 3)[s])
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def _contrast(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance((0.6, 0.45, 0.3, 0.2, 0.1)[s])


def _brightness(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    return _noisy(picture, lambda x: x + (0.15, 0.25, 0.35, 0.5, 0.65)[s])


def _darkness(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance((0.6, 0.45, 0.3, 0.2, 0.1)[s])


def _fog(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    coarse = Image.fromarray((draws.random((6, 6)) * 255).astype(np.uint8))
    veil = (
        np.asarray(coarse.resize(picture.size, Image.Resampling.BICUBIC), dtype=np.float32)[..., None] / 255
    )
    share = (0.25, 0.4, 0.55, 0.68, 0.8)[s]
    return _noisy(picture, lambda x: x * (1 - share) + share * (0.6 + 0.4 * veil))


def _rotate(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    angle = (8, 16, 28, 45, 70)[s] * (1 if draws.random() < 0.5 else -1)
    return picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))


def _occlude(picture: Image.Image, s: int, draws: _Draws) -> Image.Image:
    side = (0.2, 0.3, 0.4, 0.5, 0.6)[s]
    w, h = (max(1, round(side * length)) for length in picture.size)
    x = int(draws.integers(picture.width - w + 1))
    y = int(draws.integers(picture.height - h + 1))
    covered = picture.copy()
    covered.paste((128, 128, 128), (x, y, x + w, y + h))
    return covered


_KINDS: dict[str, _Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "gaussian_blur": _gaussian_blur,
    "motion_blur": _motion_blur,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
    "contrast": _contrast,
    "brightness": _brightness,
    "darkness": _darkness,
    "fog": _fog,
    "rotate": _rotate,
    "occlude": _occlude,
}
PICTURES: tuple[str, ...] = tuple(_KINDS)
"""The kinds, by family: three noises, two blurs, two digital, four of light and weather, two of space."""
