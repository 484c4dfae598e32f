"""The media of a record: finding them, moving their paths, checking that they can be read.

Records are trees of frozen models; everything here walks that tree once, so that a picture inside an option,
a rejected answer or a video's frames is treated as one in a message.
"""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from vitrail.data.decoding import MAX_PIXELS, decode_rgb
from vitrail.data.demonstrations import with_pictures_apart
from vitrail.data.records import Chat, Image, Media, Text, Video

M = TypeVar("M", bound=BaseModel)

MAX_PICTURE_BYTES = 256_000_000
"""An encoded picture of more bytes than this is not read into memory."""

_NOT_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def media_of(value: Any, path: str = "") -> Iterator[tuple[str, Media]]:
    """Every picture, video and sound below ``value`` in order of appearance, with its field path."""
    if isinstance(value, Media):
        yield path, value
        if isinstance(value, Video) and value.frames:
            yield from media_of(value.frames, f"{path}.frames")
    elif isinstance(value, BaseModel) and not isinstance(value, Text):
        for name in _fields(type(value)):
            inner = getattr(value, name)
            if isinstance(inner, (tuple, BaseModel)):
                yield from media_of(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield from media_of(part, f"{path}[{index}]")


@lru_cache(maxsize=64)
def _fields(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name in model.model_fields if name != "meta")


def map_media(value: M, change: Callable[[Media], Media]) -> M:
    """A copy of a record in which ``change`` was applied to each medium (a video's frames before the
    video), those of demonstrations that are read apart among them.
    """
    changed = _mapped(value, change)
    return with_pictures_apart(changed, change) if isinstance(changed, Chat) else changed  # type: ignore[return-value, arg-type]


def _mapped(value: Any, change: Callable[[Media], Media]) -> Any:
    if isinstance(value, BaseModel):
        updates = {}
        for name in _fields(type(value)):
            old = getattr(value, name)
            if isinstance(old, (tuple, BaseModel)):
                new = _mapped(old, change)
                if new is not old:
                    updates[name] = new
        if updates:
            value = value.model_copy(update=updates)
        return change(value) if isinstance(value, Media) else value
    if isinstance(value, tuple):
        parts = tuple(_mapped(part, change) for part in value)
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    return value


def rebase(record: M, prefix: str) -> M:
    """The record with ``prefix`` put before every relative path; itself when ``prefix`` is ``"."``."""
    if prefix == ".":
        return record

    def moved(medium: Media) -> Media:
        if medium.path is None or os.path.isabs(medium.path):
            return medium
        return medium.model_copy(update={"path": posixpath.join(prefix, medium.path)})

    return map_media(record, moved)


def why_outside(path: str, root: Path) -> str | None:
    """Why a medium's path is not below ``root``; None when it is. Symbolic links are followed."""
    if "\0" in path:
        return "the path holds a null byte; correct it"
    if os.path.isabs(path):
        return f"the absolute path {_short(path)} is outside the file's folder; make it relative to the file"
    base = _real_folder(str(root))
    try:
        real = os.path.realpath(os.path.join(base, path))
    except (OSError, ValueError) as error:
        return f"the path {_short(path)} cannot be followed ({error}); correct it"
    if real == base or not real.startswith(base.rstrip(os.sep) + os.sep):
        return (
            f"the path {_short(path)} leads outside the file's folder {str(root)!r}; put the picture below it"
        )
    return None


def why_no_file(medium: Media, root: Path) -> str | None:
    """Why the path of a medium names no file that may be opened; None when it does, or when nothing is there.

    A pipe or a device would be waited for without end, so this is asked of every path, whether or not pictures are
    to be checked.
    """
    if medium.path is None:
        return None
    try:
        status = os.stat(os.path.join(root, medium.path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"the path {_short(medium.path)} cannot be followed ({error.strerror or error}); correct it"
    except ValueError as error:  # half of a surrogate pair, a null byte
        return f"the path {_short(medium.path)} is no file name here ({error}); rename the file"
    for is_that, what in _NOT_FILES:
        if is_that(status.st_mode):
            return f"the path {_short(medium.path)} is {what}, not a file; name a file"
    if isinstance(medium, Image) and status.st_size > MAX_PICTURE_BYTES:
        size = f"{status.st_size:,} bytes, more than {MAX_PICTURE_BYTES:,}"
        return f"the file {_short(medium.path)} has {size}; shrink it"
    return None


def _short(path: str) -> str:
    text = repr(path)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-55:]}"


@lru_cache(maxsize=256)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)


def why_unreadable(medium: Media, root: Path | None, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why a medium cannot be used; None when it can.

    A picture is decoded, after its header told that it has at most ``max_pixels``; its stated width and
    height must be the real ones. Videos and sounds are only looked for.
    """
    if medium.url is not None:
        return f"the address {medium.url!r} is not fetched; store the picture beside the file or as bytes"
    if medium.bytes is None and medium.path is None:
        return None
    problem = why_no_file(medium, Path(root or "."))
    if problem is not None:
        return problem
    try:
        if not isinstance(medium, Image):
            if medium.path is not None and not (Path(root or ".") / medium.path).is_file():
                return _missing(medium.path, root)
            return None
        return _why_no_picture(medium, medium.read(root), max_pixels)
    except (FileNotFoundError, NotADirectoryError):
        return _missing(str(medium.path), root)
    except OSError as error:
        return f"the file {_short(str(medium.path))} cannot be read ({error.strerror or error})"


def _missing(path: str, root: Path | None) -> str:
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, path)
        if other != path and (Path(root or ".") / other).is_file():
            return f"the file {_short(path)} does not exist, but the same name in Unicode's {form} form does; rename it"
    return f"the file {_short(path)} does not exist"


def _why_no_picture(picture: Image, raw: bytes, max_pixels: int) -> str | None:
    try:
        width, height = decode_rgb(raw, max_pixels=max_pixels).size
    except ValueError as error:
        return str(error)
    for name, stated, real in (("width", picture.width, width), ("height", picture.height, height)):
        if stated is not None and stated != real:
            return f"{name} is given as {stated}, but the picture's is {real}; correct it or leave it out"
    return None
