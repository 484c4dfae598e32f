"""Where a written file keeps its pictures: inside its rows, or in a folder beside it."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image as PILImage

from vitrail.data.decoding import PICTURE_FORMATS
from vitrail.data.media import map_media
from vitrail.data.records import Image, Media, Record
from vitrail.storage import atomic
from vitrail.storage.atomic import new_file
from vitrail.storage.cache import file_digest

R = TypeVar("R", bound=Record)
Where = Literal["folder", "inline"]

_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "PPM": ".ppm",
}


class Placer:
    """Moves the media of records to where a new file wants them.

    ``"inline"`` puts their bytes into the record. ``"folder"`` puts them into ``<file's stem>.media/`` beside
    the file, named by content, so equal pictures are stored once and an interrupted write is simply repeated.
    ``root`` is where the records' relative paths are looked up now. Addresses stay addresses.
    """

    def __init__(self, file: Path, where: Where, root: Path | str | None):
        if where not in ("folder", "inline"):
            raise ValueError(f"images is {where!r}; give 'folder' or 'inline'.")
        self.folder = file.with_name(f"{file.stem}.media")
        self.where = where
        self.root = Path(root) if root is not None else None

    def __call__(self, record: R) -> R:
        """The record with its media moved; FileNotFoundError for a picture that is not there."""
        return map_media(record, self._place)

    def _place(self, medium: Media) -> Media:
        if medium.path is None and medium.bytes is None:
            return medium
        if self.where == "inline":
            return medium.model_copy(update={"bytes": medium.read(self.root), "path": None})
        if isinstance(medium, Image) or medium.bytes is not None:
            raw = medium.read(self.root)
            target = self.folder / f"{hashlib.sha256(raw).hexdigest()[:32]}{_suffix(medium, raw)}"
            if not target.exists():
                atomic.write_bytes(target, raw)
        else:
            # Videos may be larger than the memory: copied, not read.
            assert medium.path is not None
            origin = Path(self.root or ".") / medium.path
            target = self.folder / f"{file_digest(origin)[:32]}{origin.suffix}"
            if not target.exists():
                with new_file(target) as copy, open(origin, "rb") as file:
                    shutil.copyfileobj(file, copy, 1 << 20)
        return medium.model_copy(update={"path": f"{self.folder.name}/{target.name}", "bytes": None})


def _suffix(medium: Media, raw: bytes) -> str:
    if medium.path is not None and Path(medium.path).suffix:
        return Path(medium.path).suffix.lower()
    if isinstance(medium, Image):
        try:
            with PILImage.open(io.BytesIO(raw), formats=PICTURE_FORMATS) as picture:
                return _SUFFIXES.get(picture.format or "", "")
        except (OSError, ValueError, SyntaxError):
            return ""
    return ""
