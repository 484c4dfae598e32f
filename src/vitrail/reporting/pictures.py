"""Pictures inside a page: small data URIs, with shapes drawn over them as vectors."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from vitrail.reporting.page import render

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as PILImage

MAX_SIDE = 320
MAX_BYTES = 40_000
"""A picture is embedded as it is when it is at most this large, else shrunk and encoded anew."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """Something drawn over a picture, in its pixels.

    ``polygon`` closes its ``points``, ``line`` does not, ``dots`` marks each, ``path`` is the data of an SVG
    path.
    """

    kind: Literal["polygon", "line", "dots", "path"]
    points: tuple[Point, ...] = ()
    path: str = ""
    label: str = ""
    colour: int = 0

    @property
    def anchor(self) -> Point:
        """Where the label stands: the top left of the shape."""
        if not self.points:
            return (0.0, 0.0)
        return (min(x for x, _ in self.points), min(y for _, y in self.points))

    @property
    def list_of_points(self) -> str:
        """The points as SVG wants them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


def box(x1: float, y1: float, x2: float, y2: float, label: str = "", colour: int = 0) -> Shape:
    """The outline of an upright box."""
    return Shape("polygon", ((x1, y1), (x2, y1), (x2, y2), (x1, y2)), label=label, colour=colour)


def outline(mask: np.ndarray, label: str = "", colour: int = 0) -> Shape:
    """The outline of a mask ``(rows, cols)``, along the edges of its pixels."""
    import numpy as np

    padded = np.pad(np.asarray(mask, dtype=np.int8), 1)
    pieces = [f"M{x0} {y}H{x1}" for y, x0, x1 in _runs(np.diff(padded, axis=0)[:, 1:-1])]
    pieces += [f"M{x} {y0}V{y1}" for x, y0, y1 in _runs(np.diff(padded, axis=1)[1:-1].T)]
    rows, cols = np.nonzero(mask)
    corner = ((float(cols.min()), float(rows.min())),) if len(rows) else ()
    return Shape("path", corner, "".join(pieces), label, colour)


def _runs(edges: np.ndarray) -> Iterable[tuple[int, int, int]]:
    """Runs of one sign along each row of ``edges``: row, start, end."""
    import numpy as np

    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))), axis=1)
    for row, line in enumerate(steps):
        places = np.flatnonzero(line)
        values = edges[row]
        for start, end in pairwise(places):
            if values[start]:
                yield row, int(start), int(end)


@dataclass(frozen=True)
class Picture:
    """A picture for a page. ``shapes`` are given in the pixels of the original, ``width`` by ``height``."""

    uri: str
    width: int
    height: int
    alt: str
    shapes: tuple[Shape, ...] = ()
    caption: str = ""

    def with_shapes(self, shapes: Sequence[Shape]) -> Picture:
        """The same picture with these shapes over it."""
        return replace(self, shapes=tuple(shapes))

    def html(self) -> str:
        """See :class:`vitrail.reporting.page.Component`."""
        # Line widths and letters in picture pixels, so that they look alike at every size.
        return render("picture", picture=self, unit=max(self.width, self.height) / 100)


def embed(
    picture: bytes | PILImage.Image,
    alt: str,
    shapes: Sequence[Shape] = (),
    caption: str = "",
    max_side: int = MAX_SIDE,
) -> Picture:
    """A picture (encoded bytes, or Pillow's) as a data URI of at most ``max_side`` pixels a side.

    ``alt`` says what it shows, for those who cannot see it. ValueError for bytes that cannot be decoded.
    """
    from PIL import Image as PILImage

    raw = picture if isinstance(picture, bytes) else None
    if raw is not None:
        try:
            opened: Any = PILImage.open(
                io.BytesIO(raw), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
            )
            opened.load()
        except (OSError, ValueError, SyntaxError, EOFError, PILImage.DecompressionBombError) as error:
            raise ValueError(f"a picture ({alt[:60]!r}) cannot be decoded: {error}.") from None
    else:
        opened = picture
    width, height = opened.size
    media = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}.get(
        opened.format or ""
    )
    small = raw is not None and len(raw) <= MAX_BYTES and max(width, height) <= max_side
    if not (raw is not None and small and media):
        shrunk = opened.convert("RGBA" if "A" in opened.getbands() else "RGB")
        shrunk.thumbnail((max_side, max_side), PILImage.Resampling.LANCZOS)
        buffer = io.BytesIO()
        shrunk.save(buffer, "WEBP", quality=82, method=4)
        raw, media = buffer.getvalue(), "image/webp"
    uri = f"data:{media};base64,{base64.b64encode(raw).decode('ascii')}"
    return Picture(uri, width, height, alt, tuple(shapes), caption)
