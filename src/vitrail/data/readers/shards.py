"""Records → folders of shards: Hugging Face datasets (Parquet with its features) and webdataset (tars).

Both are made whole beside their place and appear at once. Equal records give equal bytes.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from vitrail.data.media import map_media
from vitrail.data.readers.expressing import mime
from vitrail.data.readers.writing import json_bytes, root_of, write_parquet
from vitrail.data.records import Media, Record, Video
from vitrail.storage.atomic import new_file, new_folder

SHARD_BYTES = 500_000_000
SHARD_RECORDS = 10_000
_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/webp": "webp",
    "audio/wav": "wav",
}
_OTHERWISE = {"image": "img", "video": "mp4", "audio": "mp3"}


def write_datasets(records: Iterable[Record], folder: Path | str, root: Path | str | None = None) -> int:
    """Write chats as a folder that ``datasets.load_dataset(folder)`` reads, pictures decoded; returns how many.

    ``folder/data/train-00000-of-00003.parquet`` …, each with datasets' features in its schema.
    """
    folder, root = Path(folder), root_of(records, root)
    count = 0
    with new_folder(folder) as made:
        shards: list[Path] = []
        for part in _portions(records, root):
            shards.append(made / "data" / f"part-{len(shards):05d}.parquet")
            count += write_parquet(part, shards[-1], images="inline", root=root)
        for number, shard in enumerate(shards):
            shard.rename(shard.with_name(f"train-{number:05d}-of-{len(shards):05d}.parquet"))
    return count


def _portions(records: Iterable[Record], root: Path | str | None) -> Iterable[list[Record]]:
    portion: list[Record] = []
    size = 0
    for record in records:
        portion.append(record)
        size += _weight(record, root)
        if len(portion) >= SHARD_RECORDS or size >= SHARD_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _weight(record: Record, root: Path | str | None) -> int:
    """Bytes of a record's media."""
    total = 0

    def weigh(medium: Media) -> Media:
        nonlocal total
        if medium.bytes is not None:
            total += len(medium.bytes)
        elif medium.path is not None:
            total += (Path(root or ".") / medium.path).stat().st_size
        return medium

    map_media(record, weigh)
    return total


def write_webdataset(records: Iterable[Record], path: Path | str, root: Path | str | None = None) -> int:
    """Write records of any kind as tar shards; returns how many.

    ``path`` is one ``.tar``, or a folder that gets ``000000.tar`` …. A sample is ``<number>.json``, the row, which
    names its media by extension (``0.png``), and a member for each of those.
    """
    path, root = Path(path), root_of(records, root)
    if path.suffix.lower() == ".tar":
        with new_file(path) as file:
            return _write_tar(enumerate(records), file, root, None)
    numbered = iter(enumerate(records))
    count = 0
    with new_folder(path) as made:
        for shard in range(1_000_000):
            target = made / f"{shard:06d}.tar"
            with open(target, "wb") as file:
                written = _write_tar(numbered, file, root, SHARD_BYTES)
            count += written
            if not written:
                target.unlink()
                break
    return count


def _write_tar(
    records: Iterable[tuple[int, Record]], file: BinaryIO, root: Path | str | None, limit: int | None
) -> int:
    count = 0
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, record in records:
            for name, raw in _members(record, number, root):
                entry = tarfile.TarInfo(name)  # owner, mode and time are the same for everybody
                entry.size = len(raw)
                archive.addfile(entry, io.BytesIO(raw))
            count += 1
            if limit is not None and (archive.offset >= limit or count >= SHARD_RECORDS):
                break
    return count


def _members(record: Record, number: int, root: Path | str | None) -> list[tuple[str, bytes]]:
    media: list[tuple[str, bytes]] = []

    def packed(medium: Media) -> Media:
        if medium.url is not None or (isinstance(medium, Video) and medium.frames is not None):
            return medium
        raw = medium.read(Path(root) if root is not None else None)
        extension = f"{len(media)}.{_ending(medium, raw)}"
        media.append((f"{number:09d}.{extension}", raw))
        return medium.model_copy(update={"path": extension, "bytes": None})

    row = json_bytes(map_media(record, packed), number)
    if record.id is None:
        row = b'{"id": null, ' + row[1:]  # a sample's name would stand for an id that is not there
    return [(f"{number:09d}.json", row), *media]


def _ending(medium: Media, raw: bytes) -> str:
    if medium.path is not None and Path(medium.path).suffix[1:].isalnum():
        return Path(medium.path).suffix[1:].lower()
    return _ENDINGS.get(mime(raw), _OTHERWISE[medium.type])  # type: ignore[attr-defined]
