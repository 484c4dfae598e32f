"""Files of records. :func:`open_source` reads one, :func:`write_jsonl` and :func:`write_parquet` write
one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitrail.data.readers.jsonl import JsonlSource
from vitrail.data.readers.parquet import ParquetSource
from vitrail.data.readers.problems import RecordError
from vitrail.data.readers.writing import write_jsonl, write_parquet

__all__ = ["JsonlSource", "ParquetSource", "RecordError", "open_source", "write_jsonl", "write_parquet"]


def open_source(path: Path | str, **options: Any) -> JsonlSource | ParquetSource:
    """The records of a file in JSON lines or Parquet; which one, its content tells.

    ``options`` are those of :class:`JsonlSource`: ``on_error="raise"|"set_aside"``, ``allow_outside``,
    ``check_images``, ``validate``, ``name``. ValueError for a file that is neither, with what to do.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(
            file.name for file in path.iterdir() if file.suffix in (".jsonl", ".ndjson", ".parquet")
        )
        found = f"it has {', '.join(files[:5])}" if files else "it has no .jsonl or .parquet file"
        raise ValueError(f"{path} is a folder; name one file ({found}).")
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from None
    if head.startswith(b"PAR1"):
        return ParquetSource(path, **options)
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")):
        raise ValueError(f"{path} is compressed; unpack it first (gunzip, unzstd, unzip …).")
    if path.suffix.lower() == ".parquet":
        raise ValueError(f"{path} is not a Parquet file that can be read: it does not begin with PAR1.")
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        raise ValueError(
            f"{path} is one JSON array; write one row a line, as `jq -c '.[]' {path.name} > rows.jsonl` does."
        )
    return JsonlSource(path, **options)
