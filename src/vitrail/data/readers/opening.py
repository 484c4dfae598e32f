"""Which container a path is, told by what is found there."""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitrail.data.readers.image_folder import NAMES, open_image_folder
from vitrail.data.readers.json_array import JsonArraySource
from vitrail.data.readers.jsonl import JsonlSource
from vitrail.data.readers.row_source import RowSource

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SHARDS = (".parquet", ".tar", ".arrow")
_ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


def open_source(path: Path | str, **options: Any) -> RowSource:
    """The records of a file or folder; what it is, its content tells.

    Read are JSON lines, a JSON array, CSV and TSV, a ``.txt`` with a text a line, CoNLL and CoNLL-U, Parquet (a file,
    or a folder of shards), Arrow files and folders of ``save_to_disk``, an ``imagefolder`` with its metadata, and tar
    shards of webdataset (a file, a folder, a pattern such as ``shards/{000..012}.tar`` or ``*.tar``). ``options`` are
    those of :class:`RowSource`: ``on_error="raise"|"set_aside"``, ``allow_outside``, ``check_images``, ``validate``,
    ``name``, ``root``. ValueError for anything else, with what to do.
    """
    text = str(path)
    if _BRACES.search(text) or (any(sign in text for sign in "*?") and not Path(path).exists()):
        return _pattern(text, options)
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(status.st_mode):
        return _folder(path, options)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is a pipe, a socket or a device; name a file.")
    try:
        return _file(path, options)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from None


def _file(path: Path, options: dict[str, Any]) -> RowSource:
    with open(path, "rb") as file:
        head = file.read(4096)
    suffix = path.suffix.lower()
    if head.startswith(b"PAR1"):
        return _shards(path, ".parquet", None, options)
    if head.startswith(_COMPRESSED):
        raise ValueError(f"{path} is compressed; unpack it first (gunzip, unzstd, unzip …).")
    if head.startswith(b"ARROW1") or suffix == ".arrow":
        return _shards(path, ".arrow", [path], options)
    if head[257:262] == b"ustar" or suffix == ".tar":
        return _shards(path, ".tar", [path], options)
    if suffix == ".parquet":
        raise ValueError(f"{path} is not a Parquet file that can be read: it does not begin with PAR1.")
    if suffix in (".csv", ".tsv"):
        from vitrail.data.readers.delimited import DelimitedSource

        return DelimitedSource(path, **options)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if suffix in (".conllu", ".conll", ".bio"):
        from vitrail.data.readers.conll import ConllSource

        return ConllSource(path, **options)
    if suffix == ".txt" and first not in (b"{", b"["):
        from vitrail.data.readers.plain_text import TextLinesSource

        return TextLinesSource(path, **options)
    if first == b"[":
        return JsonArraySource(path, **options)
    return JsonlSource(path, **options)


def _shards(path: Path, suffix: str, files: Sequence[Path] | None, options: dict[str, Any]) -> RowSource:
    if suffix == ".parquet":
        from vitrail.data.readers.parquet import ParquetSource

        return ParquetSource(path, files=files, **options)
    assert files is not None
    if suffix == ".arrow":
        from vitrail.data.readers.arrow import ArrowSource

        return ArrowSource(path, files=files, **options)
    from vitrail.data.readers.webdataset import WebdatasetSource

    return WebdatasetSource(path, files=files, **options)


def _pattern(text: str, options: dict[str, Any]) -> RowSource:
    files = [
        file
        for one in _expanded(text)
        for file in (sorted(glob.glob(one)) if any(c in one for c in "*?") else [one])
    ]
    missing = [file for file in files if not Path(file).is_file()]
    if missing or not files:
        raise ValueError(
            f"there is no file {missing[0] if missing else text}, which the pattern {text} asks for."
        )
    suffixes = sorted({Path(file).suffix.lower() for file in files})
    if len(suffixes) > 1 or suffixes[0] not in _SHARDS:
        raise ValueError(
            f"the pattern {text} names {', '.join(suffixes)} files; patterns are for .parquet, .tar or .arrow."
        )
    return _shards(Path(text), suffixes[0], [Path(file) for file in files], options)


def _expanded(text: str) -> list[str]:
    found = _BRACES.search(text)
    if found is None:
        return [text]
    first, last = int(found[1]), int(found[2])
    if last < first or last - first >= 1_000_000:
        raise ValueError(
            f"the pattern {found[0]} counts from {first} to {last}; give a range such as {{000..012}}."
        )
    numbers = [f"{n:0{len(found[1])}d}" for n in range(first, last + 1)]
    return [one for n in numbers for one in _expanded(text[: found.start()] + n + text[found.end() :])]


def _folder(path: Path, options: dict[str, Any]) -> RowSource:
    if (path / "state.json").is_file():
        from vitrail.data.readers.arrow import saved_files

        return _shards(path, ".arrow", saved_files(path), options)
    if (path / "dataset_dict.json").is_file():
        splits = sorted(inner.parent.name for inner in path.glob("*/state.json"))
        raise ValueError(
            f"{path} holds several splits ({', '.join(splits)}); name one, as in {path / (splits or ['train'])[0]}."
        )
    if any((path / name).is_file() for name in NAMES):
        return open_image_folder(path, **options)
    files = sorted(file for file in path.iterdir() if file.is_file())
    if not any(file.suffix in _SHARDS for file in files) and (path / "data").is_dir():
        files += sorted(file for file in (path / "data").iterdir() if file.suffix in _SHARDS)
    shards = [file for file in files if file.suffix in _SHARDS]
    rows = [file.name for file in files if file.suffix in _ROWS]
    kinds = {file.suffix for file in shards}
    if len(kinds) == 1 and not [name for name in rows if not name.endswith(".json")]:
        splits = sorted(
            {re.split(r"[-.]", file.name)[0] for file in shards if re.match(r"[a-z]+-\d+-of-\d+", file.name)}
        )
        if len(splits) > 1:
            one = f"{shards[0].parent / splits[0]}-*{shards[0].suffix}"
            raise ValueError(f"{path} holds several splits ({', '.join(splits)}); name one, as in {one}.")
        return _shards(path, kinds.pop(), shards, options)
    named = [*rows, *(file.name for file in shards)]
    found = (
        f"it has {', '.join(named[:5])}"
        if named
        else "it has no .jsonl, .parquet or .tar file, and no metadata.jsonl"
    )
    raise ValueError(f"{path} is a folder; name one file ({found}).")
