"""Encoded pictures → pixels, within bounds."""

from __future__ import annotations

import io
import warnings

from PIL import Image as PILImage
from PIL import ImageOps

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is decoded. Pillow's other formats include some that start outside programs (EPS) or are rarely pictures."""

MAX_PIXELS = 64_000_000
"""A picture of more pixels than this is taken for a decompression bomb (8,000 × 8,000)."""


def decode(raw: bytes, *, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """The picture (of an animation the first frame), still in its own mode and orientation.

    ValueError says why it cannot be decoded, or that its header promises more than ``max_pixels``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            opened = PILImage.open(io.BytesIO(raw), formats=PICTURE_FORMATS)
            width, height = opened.size
            if width * height > max_pixels:
                raise _TooLarge(
                    f"the picture has {width} × {height} pixels, more than {max_pixels:,}; shrink it"
                )
            opened.load()
            return opened
    except _TooLarge as error:
        raise ValueError(str(error)) from None
    except PILImage.DecompressionBombError:
        raise ValueError(f"the picture has far more than {max_pixels:,} pixels; shrink it") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as error:
        said = " ".join(str(error).split())[:120]
        raise ValueError(f"the picture cannot be decoded ({said}); convert it to PNG or JPEG") from None


def decode_rgb(raw: bytes) -> PILImage.Image:
    """The picture as people see it: turned as its EXIF says, transparency on white, three channels.

    ValueError as :func:`decode`.
    """
    picture = ImageOps.exif_transpose(decode(raw))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = PILImage.new("RGBA", picture.size, "white")
        return PILImage.alpha_composite(white, picture).convert("RGB")
    if picture.mode.startswith("I;16") or picture.mode == "I":
        # 16-bit greys: Pillow would clip them at 255.
        return picture.point(lambda value: value / 256).convert("L").convert("RGB")
    return picture.convert("RGB")


class _TooLarge(ValueError):
    pass
