"""Records → the rows of other people's formats, and their containers; what a format cannot say is refused.

Each row is read back before it is written: a file holds what was given, or the record is named and left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from vitrail.data.media import media_of
from vitrail.data.readers.expressing import canonical
from vitrail.data.readers.formats import format_called
from vitrail.data.readers.json_text import parse_line
from vitrail.data.readers.placing import Placer, Where
from vitrail.data.readers.problems import FieldError
from vitrail.data.readers.rows import OnError, read_row
from vitrail.data.readers.shards import write_datasets, write_webdataset
from vitrail.data.readers.writing import write_jsonl, write_parquet
from vitrail.data.records import Chat, Record
from vitrail.data.sources import BadRow, SetAside
from vitrail.storage.atomic import new_file

Target = Literal["jsonl", "parquet", "datasets", "webdataset", "trl", "swift", "llava", "sharegpt", "openai"]
ROW_FORMATS = ("trl", "swift", "llava", "sharegpt", "openai")
CONTAINERS: dict[str, Callable[..., int]] = {
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "datasets": write_datasets,
    "webdataset": write_webdataset,
}
TARGETS = (*CONTAINERS, *ROW_FORMATS)
_CHATS_ALONE = ("parquet", "datasets")


def convert(
    records: Iterable[Record],
    path: Path | str,
    to: str,
    images: Where | None = None,
    root: Path | str | None = None,
    on_error: OnError = "raise",
) -> SetAside:
    """Write records (a source, or any iterable) as ``to`` (one of :data:`TARGETS`), atomically.

    ``"trl"``, ``"swift"``, ``"llava"``, ``"sharegpt"`` and ``"openai"`` are rows: one JSON array where ``path`` ends
    in ``.json``, else JSON lines. ``images="folder"`` keeps media in ``<stem>.media/`` beside the file, ``"inline"``
    as bytes in it; default what is usual for ``to``. Returned are the counts, and the records that cannot be expressed
    with ``on_error="set_aside"``; else the first of them is a ValueError that names record and field.
    """
    if to not in TARGETS:
        from vitrail.registry import nearest

        raise ValueError(f"to is {to!r}; {nearest(to, list(TARGETS))} (known: {', '.join(TARGETS)})")
    path = Path(path)
    aside = SetAside()
    root = root if root is not None else getattr(records, "root", None)
    if to in ROW_FORMATS:
        place = Placer(path, images or ("inline" if to == "openai" else "folder"), root)
        lines = _each(
            records, lambda record: _line(place(_there(record, root)), to), path.name, on_error, aside
        )
        _write_lines(lines, path)
        return aside
    allowed = _chat if to in _CHATS_ALONE else _any
    records = _each(records, lambda record: _there(allowed(record), root), path.name, on_error, aside)
    options: dict[str, Any] = {"images": images} if images is not None and to in ("jsonl", "parquet") else {}
    CONTAINERS[to](records, path, root=root, **options)
    return aside


def _each(
    records: Iterable[Record], make: Callable[[Record], Any], name: str, on_error: OnError, aside: SetAside
) -> Iterator[Any]:
    """What ``make`` makes of each record; those that it refuses are named, or set aside and counted."""
    for number, record in enumerate(records, start=1):
        try:
            made = make(record)
        except (FieldError, OSError) as error:
            field, reason = getattr(error, "field", ""), getattr(error, "reason", None) or str(error)
            if on_error == "raise":
                identity = f" ({record.id!r})" if record.id is not None else ""
                where = f", {field}" if field else ""
                raise ValueError(
                    f"record {number}{identity}{where}: {reason}. (on_error='set_aside' leaves such records out.)"
                ) from None
            aside.rows.append(BadRow(name, number, field, reason, record.id, "record"))
            continue
        aside.used += 1
        yield made


def _chat(record: Record) -> Record:
    if not isinstance(record, Chat):
        raise FieldError("kind", f"a {type(record).__name__.lower()} has no place in this format")
    return record


def _any(record: Record) -> Record:
    return record


def _there(record: Record, root: Path | str | None) -> Record:
    """The record; :class:`FieldError` for a medium whose file is not there."""
    for field, medium in media_of(record):
        if medium.path is not None and not (Path(root or ".") / medium.path).is_file():
            raise FieldError(field, f"the file {medium.path!r} does not exist")
    return record


def _line(record: Record, to: str) -> bytes:
    """The row of a record as JSON, which reads back as that record."""
    wanted = canonical(_chat(record))
    row = format_called(to).row(wanted)
    try:
        raw = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise FieldError("meta", f"cannot be written as JSON ({error})") from None
    back, _ = read_row(parse_line(raw))
    if back != wanted:
        raise FieldError(_difference(wanted, back), "would come back changed from this format")
    return raw


def _difference(one: Any, other: Any, path: str = "") -> str:
    """The path of the first field in which two records differ."""
    if type(one) is type(other) and hasattr(one, "model_fields_set"):
        for name in type(one).model_fields:
            if getattr(one, name) != getattr(other, name):
                return _difference(
                    getattr(one, name), getattr(other, name), f"{path}.{name}" if path else name
                )
    if isinstance(one, tuple) and isinstance(other, tuple):
        for n, (left, right) in enumerate(zip(one, other, strict=False)):
            if left != right:
                return _difference(left, right, f"{path}[{n}]")
    return path


def _write_lines(lines: Iterator[bytes], path: Path) -> None:
    array = path.suffix.lower() == ".json"
    with new_file(path) as file:
        if array:
            file.write(b"[")
        for number, line in enumerate(lines):
            if array:
                file.write(b",\n" if number else b"\n")
            file.write(line if array else line + b"\n")
        if array:
            file.write(b"\n]\n")
