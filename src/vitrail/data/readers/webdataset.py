"""webdataset shards: tars in which the members of a sample stand beside each other and share a name up to a dot.

A sample's ``.json`` is a row in any format that is known (or image–text metadata beside a ``.txt``); its pictures,
videos and sounds are members, which the row names by file name or extension, or takes in order. Members are read from
their place in the tar, nothing is unpacked. Pickles (``.pyd``, ``.pth`` …) are refused.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitrail.data.media import MAX_PICTURE_BYTES, map_media, media_of, why_unreadable
from vitrail.data.readers.beside import COLUMNS
from vitrail.data.readers.json_text import parse_line
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.row_source import LINE_LIMIT, Place, RowSource
from vitrail.data.readers.rows import RowRules
from vitrail.data.readers.tar_index import GARBAGE, REGULAR, WHY, TarIndex, read_member
from vitrail.data.records import Media, Record
from vitrail.storage.cache import file_digest, key

EXTENSIONS = {
    "image": ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "img"),
    "video": ("mp4", "webm", "avi", "mov", "mkv"),
    "audio": ("wav", "mp3", "flac", "ogg", "m4a"),
}
PICKLES = ("pyd", "pth", "pt", "pkl", "pickle", "pyc")
_TEXTS = ("txt", "text", "caption")
_CONTENT = (
    "messages",
    "conversations",
    "instruction",
    "prompt",
    "query",
    "question",
    "kind",
    "text",
    "chosen",
)

Member = tuple[str, int, int, int]


class WebdatasetSource(RowSource):
    """The records of tar shards.

    Arguments as :class:`vitrail.data.readers.row_source.RowSource`; ``files`` are the shards, in order. Records carry
    the bytes of their media; ``root`` is not used.
    """

    container = "webdataset"
    word = "sample"

    def __init__(self, path: Path | str, *args: Any, files: Sequence[Path], **options: Any):
        if options.get("root") is not None:
            raise ValueError("root has no meaning for tar shards: their media are members; leave it out.")
        self._files = list(files)
        super().__init__(path, *args, **options)

    def _folder(self) -> Path:
        return self._files[0].parent

    def _open(self) -> None:
        self._handles: dict[int, int] = {}
        self._indices = [TarIndex(file) for file in self._files]
        self._ends: list[int] = []
        for index in self._indices:
            self._ends.append(len(index) + (self._ends[-1] if self._ends else 0))

    def _rows(self, read: bool) -> Iterator[tuple[Place, Callable[[], Any]]]:
        place = 0
        for index in self._indices:
            seen: set[str] = set()
            for number in range(len(index)):
                stem = index.sample(number)[0]
                if stem in seen:
                    yield (place,), partial(_twice, stem)
                else:
                    yield (place,), partial(self._load, (place,))
                seen.add(stem)
                place += 1

    def _split(self, place: Place) -> tuple[int, int]:
        file = bisect_right(self._ends, place[0])
        return file, place[0] - (self._ends[file - 1] if file else 0)

    def _where(self, place: Place) -> tuple[str, int]:
        file, number = self._split(place)
        return self._files[file].name, number + 1

    def _digest(self) -> str:
        return key(*(file_digest(file) for file in self._files))

    def _media_digest(self) -> str | None:
        return None  # media are members of the tars

    def _read(self, file: int, member: Member, limit: int) -> bytes:
        extension, _, offset, size = member
        if size > limit:
            raise FieldError(extension, f"has {size:,} bytes, more than {limit:,}; shrink it")
        if file not in self._handles:
            self._handles[file] = os.open(self._files[file], os.O_RDONLY | os.O_CLOEXEC)
        return read_member(self._handles[file], offset, size, self._files[file])

    def _load(self, place: Place) -> Any:
        file, number = self._split(place)
        stem, members = self._indices[file].sample(number)
        return self._row(file, stem, _named(stem, members))

    def _row(self, file: int, stem: str, members: dict[str, Member]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if "json" in members:
            found = parse_line(self._read(file, members["json"], LINE_LIMIT))
            if not isinstance(found, dict):
                raise FieldError("json", "must be an object")
            row = found
        text = next((name for name in _TEXTS if name in members), None)
        if text is not None and not any(name in row for name in _CONTENT):
            row["text"] = self._text(file, members[text])
            if row.get("caption") == row["text"]:
                del row["caption"]
        if "cls" in members:
            row.setdefault("cls", self._text(file, members["cls"]))
        self._add_media(row, stem, members)
        row.setdefault("id", stem)
        return row

    def _text(self, file: int, member: Member) -> str:
        try:
            return self._read(file, member, LINE_LIMIT).decode("utf-8")
        except UnicodeDecodeError as error:
            raise FieldError(member[0], f"byte {error.start + 1} is not UTF-8; convert it") from None

    def _add_media(self, row: dict[str, Any], stem: str, members: dict[str, Member]) -> None:
        """Media columns for members that the row does not name itself."""
        for kind in EXTENSIONS:
            there = [name for name in members if kind_of(name) == kind]
            column = next(
                (name for name, of in COLUMNS.items() if of == kind and row.get(name) is not None), None
            )
            if not there:
                continue
            if column is None:
                if not _named_inside(row, stem, there):
                    row[f"{kind}s"] = there
                continue
            values = row[column] if isinstance(row[column], list) else [row[column]]
            known = all(isinstance(value, str) and _member(value, stem, members) for value in values)
            if not known and len(values) == len(there):
                row[column] = there  # paths of where the pictures were before they were packed

    def _finished(self, record: Record, place: Place, rules: RowRules) -> Record:
        file, number = self._split(place)
        stem, listed = self._indices[file].sample(number)
        members = _named(stem, listed)

        def fetched(medium: Media) -> Media:
            if medium.path is None:
                return medium
            member = members[_member(medium.path, stem, members) or ""]
            return medium.model_copy(
                update={"path": None, "bytes": self._read(file, member, MAX_PICTURE_BYTES)}
            )

        for path, medium in media_of(record):
            if medium.path is not None and _member(medium.path, stem, members) is None:
                raise FieldError(
                    path, f"{medium.path!r} is no member of the sample {stem!r}; it has {', '.join(members)}"
                )
        if self._scanning and not rules.check_images:
            return record
        record = map_media(record, fetched)
        if rules.check_images:
            for path, medium in media_of(record):
                reason = why_unreadable(medium, None, rules.max_pixels)
                if reason is not None:
                    raise FieldError(path, reason)
        return record

    _scanning = False

    def _scan(self, validate: bool) -> None:
        self._scanning = True  # bytes of media are not needed to check a row
        super()._scan(validate)
        self._scanning = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": {}}

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", {}).values():
            os.close(handle)


def kind_of(extension: str) -> str | None:
    """``image``, ``video`` or ``audio`` by a member's extension (``"0.png"`` is a picture)."""
    last = extension.rpartition(".")[2]
    return next((kind for kind, endings in EXTENSIONS.items() if last in endings), None)


def _named(stem: str, members: list[Member]) -> dict[str, Member]:
    """The members of a sample by extension; :class:`FieldError` for one that is not read."""
    out: dict[str, Member] = {}
    for member in members:
        extension, kind = member[:2]
        if kind == GARBAGE:
            raise FieldError(
                "",
                f"no tar header at byte {member[2]}: the tar is damaged or was cut off there; copy it again",
            )
        if kind != REGULAR:
            raise FieldError(extension, f"a member of {stem!r} {WHY[kind]}")
        if extension.rpartition(".")[2] in PICKLES:
            raise FieldError(extension, "is a pickle, which could run code and is never opened; remove it")
        if extension in out:
            raise FieldError(extension, f"{stem!r} has this member twice; keep one")
        out[extension] = member
    return out


def _member(path: str, stem: str, members: Any) -> str | None:
    """The extension of the member that a path in the row means: its whole name, its file's name, or the extension."""
    base = stem.rpartition("/")[2]
    for prefix in (f"{stem}.", f"{base}.", ""):
        extension = path[len(prefix) :].lower() if path.startswith(prefix) else None
        if extension is not None and extension in members:
            return extension
    return None


def _named_inside(row: dict[str, Any], stem: str, there: list[str]) -> bool:
    """Whether typed parts of the row name one of the members themselves."""

    def walk(value: Any) -> bool:
        if isinstance(value, dict):
            named = any(
                isinstance(value.get(name), str) and _member(value[name], stem, there)
                for name in ("path", "image")
            )
            return named or any(walk(inner) for inner in value.values())
        return isinstance(value, list) and any(walk(inner) for inner in value)

    return walk(row)


def _twice(stem: str) -> Any:
    raise FieldError("", f"the sample {stem!r} is there twice in the shard; rename one")
