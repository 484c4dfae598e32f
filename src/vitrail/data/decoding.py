"""Encoded pictures → pixels, within bounds."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is decoded. Pillow's other formats include some that start outside programs (EPS) or are rarely pictures."""

MAX_PIXELS = 64_000_000
"""A picture of more pixels than this is taken for a decompression bomb (8,000 × 8,000)."""

REMEMBERED_BYTES = 96_000_000
"""How much memory the pictures that were decoded last may take; one of more than half of it is not kept."""
_REMEMBERED: dict[bytes, PILImage.Image] = {}

_REMEDY = "replace it by a whole one, as PNG or JPEG"
_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}


def decode(raw: bytes, *, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """The picture (of an animation the first frame), still in its own mode and orientation.

    ValueError says why it cannot be decoded, or that its header promises more than ``max_pixels``.
    """
    with _opened(raw, max_pixels) as opened:
        opened.load()
        return opened


def stated_size(raw: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as the header states them, before any turn; nothing is decoded. ValueError as :func:`decode`."""
    with _opened(raw, max_pixels) as opened:
        return opened.size


@contextmanager
def _opened(raw: bytes, max_pixels: int) -> Iterator[PILImage.Image]:
    """The picture with its header read. Whatever goes wrong with it becomes a ValueError that says what."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damage that it reads past, and of large pictures
            warnings.simplefilter("ignore")
            opened = PILImage.open(io.BytesIO(raw), formats=PICTURE_FORMATS)
            width, height = opened.size
            if width * height > max_pixels:
                raise _TooLarge(
                    f"the picture has {width} × {height} pixels, more than {max_pixels:,}; shrink it"
                )
            yield opened
    except _TooLarge as error:
        raise ValueError(str(error)) from None
    except PILImage.DecompressionBombError:
        raise ValueError(f"the picture has far more than {max_pixels:,} pixels; shrink it") from None
    except UnidentifiedImageError:
        known = f"no {', '.join(PICTURE_FORMATS[:-1])} or {PICTURE_FORMATS[-1]} that can be read"
        begins = f"it begins with {raw[:16]!r}" if raw else "it is empty"
        raise ValueError(f"the picture cannot be decoded ({known}; {begins}); {_REMEDY}") from None
    except Exception as error:  # Pillow's decoders let anything escape from damaged bytes
        raise ValueError(f"the picture cannot be decoded ({_said(error)}); {_REMEDY}") from None


def orientation(picture: PILImage.Image) -> int:
    """EXIF's number of the turn that a picture needs, 1 for none or where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that cannot be read turns nothing
        return 1


def decode_rgb(raw: bytes, *, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """The picture as people see it: turned as its EXIF says, transparency on white, three channels of 8 bits.

    16-bit greys keep their high byte. The last pictures are remembered, up to :data:`REMEMBERED_BYTES` of pixels:
    whoever checks a picture, measures and encodes it decodes it once, and every caller has a copy of its own.
    ValueError as :func:`decode`, and for floating-point pixels, whose range nothing tells.
    """
    key = hashlib.blake2b(raw, digest_size=16).digest()
    known = _REMEMBERED.get(key)
    if known is not None and known.width * known.height <= max_pixels:
        return known.copy()
    picture = _shown(raw, max_pixels)
    _remember(key, picture)
    return picture


def _remember(key: bytes, picture: PILImage.Image) -> None:
    """Keep a copy, and forget the oldest. Each step is atomic by itself: threads share this, and no lock is forked."""
    if _bytes_of(picture) > REMEMBERED_BYTES // 2:
        return
    _REMEMBERED[key] = picture.copy()
    while sum(map(_bytes_of, list(_REMEMBERED.values()))) > REMEMBERED_BYTES:
        oldest = next(iter(list(_REMEMBERED)), None)
        _REMEMBERED.pop(oldest, None)  # type: ignore[arg-type]


def _bytes_of(picture: PILImage.Image) -> int:
    return 3 * picture.width * picture.height


def _shown(raw: bytes, max_pixels: int) -> PILImage.Image:
    picture = decode(raw, max_pixels=max_pixels)
    turn = _TURNS.get(orientation(picture))
    try:
        if turn is not None:
            transparent = picture.info.get("transparency")
            picture = picture.transpose(turn)
            if transparent is not None:
                picture.info["transparency"] = transparent
        return _three_channels(picture)
    except _Refused as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # conversions between rare modes
        raise ValueError(f"the picture cannot be converted ({_said(error)}); {_REMEDY}") from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _three_channels(picture: PILImage.Image) -> PILImage.Image:
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert({"RGBa": "RGBA", "La": "LA"}[picture.mode])
    if picture.mode.startswith("I"):
        return _grey16(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = PILImage.new("RGBA", picture.size, "white")
        return PILImage.alpha_composite(white, picture).convert("RGB")
    if picture.mode == "F":
        raise _Refused("the picture has floating-point pixels of unknown range; convert it to 8 bits")
    if picture.mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(picture, *profiles, outputMode="RGB")
        assert turned is not None
        return turned
    return picture.convert("RGB")


def _grey16(picture: PILImage.Image) -> PILImage.Image:
    """The high bytes of 16-bit greys, which Pillow would clip at 255; the transparent value is white."""
    import numpy as np

    values = np.asarray(picture, dtype=np.int64)
    grey = (values.clip(0, 65_535) >> 8).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return PILImage.fromarray(grey).convert("RGB")


class _Refused(ValueError):
    """A picture that is whole but cannot be shown."""


class _TooLarge(ValueError):
    pass
