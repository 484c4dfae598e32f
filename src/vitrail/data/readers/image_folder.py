"""Hugging Face's ``imagefolder``: pictures in a folder, and a ``metadata.jsonl`` or ``.csv`` that tells about each.

``file_name`` (or ``file_names``) of a row is the picture (the pictures) it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitrail.data.readers.delimited import DelimitedSource
from vitrail.data.readers.jsonl import JsonlSource
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import Place

NAMES = ("metadata.jsonl", "metadata.csv")


def _with_pictures(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    row = dict(row)
    for column, target in (("file_name", "image"), ("file_names", "images")):
        if column in row:
            if "image" in row or "images" in row:
                raise FieldError(column, "the row has a picture of another column too; keep one")
            row[target] = row.pop(column)
    return row


class ImageFolderJsonl(JsonlSource):
    """An imagefolder with ``metadata.jsonl``."""

    container = "imagefolder"

    def _parsed(self, raw: bytes | None) -> Any:
        return _with_pictures(super()._parsed(raw))

    def _load(self, place: Place) -> Any:
        return _with_pictures(super()._load(place))


class ImageFolderCsv(DelimitedSource):
    """An imagefolder with ``metadata.csv``."""

    container = "imagefolder"

    def _row(self, cells: list[str]) -> dict[str, Any]:
        row: dict[str, Any] = _with_pictures(super()._row(cells))
        return row


def open_image_folder(folder: Path, **options: Any) -> ImageFolderJsonl | ImageFolderCsv:
    """The records of an imagefolder; ``options`` as :func:`vitrail.data.readers.open_source`."""
    options.setdefault("name", folder.name)
    if (folder / NAMES[0]).is_file():
        return ImageFolderJsonl(folder / NAMES[0], **options)
    return ImageFolderCsv(folder / NAMES[1], **options)
