"""Videos below a folder: one document each, with what ``<name>.info.json`` beside it says (yt-dlp's file)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vitrail.curation.counts import OperationCounts
from vitrail.curation.lectures.frames import about, seconds
from vitrail.curation.pipeline import InputSettings
from vitrail.data.records import Document, Video

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
FIELDS = (
    "id",
    "title",
    "description",
    "tags",
    "categories",
    "channel",
    "upload_date",
    "webpage_url",
    "language",
    "query",
)
"""What is kept of a video's description; ``query`` is the knowledge point that it was found by."""


def read_videos(
    path: Path, settings: InputSettings, base: Path, counts: OperationCounts
) -> Iterator[Document]:
    """The document of a video, or none: another file is dropped, one that cannot be read is set aside."""
    name = Path(os.path.relpath(path, base)).as_posix()
    if path.suffix.lower() not in SUFFIXES:
        counts.add_unread("not a video")
        return
    try:
        known, length = about(path), seconds(path)
    except ValueError as error:
        counts.add_fault(None, "cannot be read", str(error), name)
        return
    meta = {("video_id" if field == "id" else field): known[field] for field in FIELDS if field in known}
    if "language" in meta:
        meta["said_language"] = meta.pop("language")
    meta = {"video_id": path.stem, **meta, "seconds": round(length, 3)}
    yield Document(id=name, content=(Video(path=name),), meta=meta)
