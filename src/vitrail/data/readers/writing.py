"""Records → files that the readers read back as equal records."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vitrail.data.media import media_of
from vitrail.data.readers.placing import Placer, Where
from vitrail.data.records import Chat, Image, Record
from vitrail.storage.atomic import new_file

ROW_GROUP_BYTES = 16_000_000
ROW_GROUP_ROWS = 256
"""A record is read with its whole row group, so groups are kept small."""


def root_of(records: Iterable[Record], root: Path | str | None) -> Path | str | None:
    """Where the relative paths of records begin: ``root``, or the source's own."""
    return root if root is not None else getattr(records, "root", None)


def write_jsonl(
    records: Iterable[Record], path: Path | str, images: Where = "folder", root: Path | str | None = None
) -> int:
    """Write records (a source, or any iterable) as JSON lines, atomically; returns how many.

    ``images="folder"`` keeps pictures in ``<stem>.media/`` beside the file, ``"inline"`` as base64 in the
    rows. ``root`` is where relative paths are looked up now; default the source's.
    """
    path = Path(path)
    place = Placer(path, images, root_of(records, root))
    count = 0
    with new_file(path) as file:
        for record in records:
            file.write(json_bytes(place(record), count) + b"\n")
            count += 1
    return count


def json_bytes(record: Record, index: int) -> bytes:
    """The row of a record as JSON; ValueError names the record that JSON cannot hold."""
    try:
        _as_json(record.meta)
        return _as_json(as_row(record), default=_base64).encode()
    except (ValueError, TypeError) as error:
        name = f"record {index}" + (f" ({record.id!r})" if record.id is not None else "")
        raise ValueError(f"{name} cannot be written as JSON: {error}.") from None


def _as_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=default)


def _base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def as_row(record: Record) -> dict[str, Any]:
    """A record as the fields of its row, those that say nothing left out; bytes are still bytes."""
    row = record.model_dump(exclude_none=True)
    if not row["meta"]:
        del row["meta"]
    if isinstance(record, Chat):
        del row["kind"]
        for message in (*row["messages"], *row.get("rejected", ())):
            if message["weight"] == 1.0:
                del message["weight"]
    return row


def write_parquet(
    records: Iterable[Record], path: Path | str, images: Where = "inline", root: Path | str | None = None
) -> int:
    """Write chats as Parquet in the layout of Hugging Face datasets, atomically; returns how many.

    ``messages`` holds typed content; pictures stand in ``images`` as ``{bytes, path}`` in order of
    appearance, which the datasets library decodes (its features are in the schema); ``meta`` is JSON text.
    ValueError for records of another kind: write those with :func:`write_jsonl`.
    """
    import pyarrow.parquet as parquet

    path = Path(path)
    place = Placer(path, images, root_of(records, root))
    schema = parquet_schema()
    count, rows, size = 0, [], 0
    with new_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for record in records:
            if not isinstance(record, Chat):
                kind = type(record).__name__.lower()
                raise ValueError(f"record {count} is a {kind}; Parquet holds chats, use write_jsonl().")
            row, pictures = _parquet_row(place(record))
            rows.append(row)
            size += pictures
            count += 1
            if len(rows) >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                _flush(writer, rows, schema)
                rows, size = [], 0
        if rows:
            _flush(writer, rows, schema)
    return count


def _flush(writer: Any, rows: list[dict[str, Any]], schema: Any) -> None:
    import pyarrow

    writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def parquet_schema() -> Any:
    """The Arrow schema of a Parquet file of chats.

    ``data`` of a part is the JSON of what is neither its type nor its text, so that every type of content
    fits one column.
    """
    import pyarrow as pa

    part = pa.struct([("type", pa.string()), ("text", pa.string()), ("data", pa.string())])
    messages = pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.list_(part)), ("weight", pa.float64())])
    )
    choices = pa.struct([("options", pa.list_(pa.list_(part))), ("answer", pa.int64())])
    fields = [
        ("id", pa.string()),
        ("messages", messages),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("rejected", messages),
        ("choices", choices),
        ("meta", pa.string()),
    ]
    return pa.schema(fields, metadata={"vitrail": "chat-1", "huggingface": _features()})


def _features() -> str:
    """datasets' description of the schema, by which it decodes the pictures."""

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    part = {name: value("string") for name in ("type", "text", "data")}
    message = {"role": value("string"), "content": [part], "weight": value("float64")}
    features = {
        "id": value("string"),
        "messages": [message],
        "images": [{"_type": "Image"}],
        "rejected": [message],
        "choices": {"options": [[part]], "answer": value("int64")},
        "meta": value("string"),
    }
    return json.dumps({"info": {"features": features}})


def _parquet_row(chat: Chat) -> tuple[dict[str, Any], int]:
    pictures: list[Image] = []
    size = 0
    for path, medium in media_of(chat):
        # A video's frames stay with the video.
        if isinstance(medium, Image) and ".frames[" not in path and medium.url is None:
            pictures.append(medium)
            size += len(medium.bytes or b"")
    row = as_row(chat)
    for messages in (row["messages"], row.get("rejected", [])):
        for message in messages:
            message["content"] = [_parquet_part(part) for part in message["content"]]
    if "choices" in row:
        row["choices"]["options"] = [[_parquet_part(part) for part in o] for o in row["choices"]["options"]]
    if "meta" in row:
        row["meta"] = _as_json(row["meta"])
    row["images"] = [{"bytes": picture.bytes, "path": picture.path} for picture in pictures]
    return row, size


def _parquet_part(part: dict[str, Any]) -> dict[str, Any]:
    dropped = {"type", "text"} | ({"bytes", "path"} if part["type"] == "image" else set())
    rest = {name: value for name, value in part.items() if name not in dropped}
    return {
        "type": part["type"],
        "text": part.get("text"),
        "data": _as_json(rest, default=_base64) if rest else None,
    }
