"""Bytes that came from somewhere → the kind and size of a picture, or the reason why they are none.

What a server says of the type is not asked; the bytes are. Size is read from the header, and a picture that promises
too many pixels is refused before anything is unpacked; then it is decoded once, so that broken ones go here.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from vitrail.data.decoding import PICTURE_FORMATS, decode, orientation
from vitrail.data.fetching.failures import Failed

ACCEPT = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff;q=0.9,*/*;q=0.1"
"""What a request says it would take."""
_SUFFIXES = {"JPEG": "jpg", "TIFF": "tif"}


@dataclass(frozen=True)
class Picture:
    """``suffix`` of a file of its kind; ``width`` and ``height`` as people see it, EXIF's turns done."""

    suffix: str
    width: int
    height: int


def stated(body: bytes, max_pixels: int) -> tuple[str, int, int]:
    """Pillow's word for the kind, width and height, as the header has them; nothing is unpacked.

    :class:`~vitrail.data.fetching.failures.Failed` for what is no picture, or has too many pixels.
    """
    from PIL import Image as PILImage

    if not body:
        raise Failed("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PILImage.open(io.BytesIO(body), formats=PICTURE_FORMATS) as opened:
                kind, (width, height) = str(opened.format), opened.size
    except PILImage.DecompressionBombError as error:
        raise Failed("too many pixels", str(error)) from None
    except Exception as error:  # Pillow lets anything escape from bytes that are no picture
        raise Failed("no picture", f"it begins with {body[:16]!r} ({type(error).__name__})") from None
    if width * height > max_pixels:
        raise Failed("too many pixels", f"{width} × {height}, at most {max_pixels:,}")
    return kind, width, height


def examined(body: bytes, max_pixels: int) -> Picture:
    """The picture. :class:`~vitrail.data.fetching.failures.Failed` for none, a broken one, or too many pixels."""
    kind, width, height = stated(body, max_pixels)
    try:
        whole = decode(body, max_pixels=max_pixels)
    except ValueError as error:
        raise Failed("broken picture", str(error)) from None
    if orientation(whole) in (5, 6, 7, 8):
        width, height = height, width
    return Picture(_SUFFIXES.get(kind, kind.lower()), width, height)
