"""Where the members of a tar lie: made once by walking over its headers, kept in the cache.

Nothing is ever unpacked to disk, so a member's name is only a name. Links, devices, sparse members and members that
the file ends inside of are listed with what they are; who reads a member checks that its header is still there.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

from vitrail.storage.cache import FolderCache, default_root, key

CACHED_BYTES = 4_000_000
"""A tar of fewer bytes is walked over again instead."""

REGULAR, LINK, OTHER, SPARSE, CUT, GARBAGE = range(6)
WHY = {
    LINK: "is a link; store the file itself",
    OTHER: "is no file",
    SPARSE: "is a sparse member, which is not read; store it whole",
    CUT: "is cut off: the tar ends inside it; copy it again",
}

REST = "\ufffd"
"""The name of what follows the last member that can be told, where the tar does not end as one should."""


class TarIndex:
    """The members of one tar: ``offsets`` and ``sizes`` of their data, ``kinds``, and the sample each is of."""

    def __init__(self, path: Path):
        self.path = path
        status = path.stat()
        self.bytes = status.st_size
        identity = key("tar-index-1", os.path.realpath(path), status.st_size, status.st_mtime_ns)
        if status.st_size < CACHED_BYTES:
            self._take(*_walk(path))
            return
        cache = FolderCache(default_root() / "tar-index")
        folder = cache.get_or_make(identity, lambda made: _write(made, path))
        self._read(folder)

    def _take(self, members: Any, names: bytes) -> None:
        import numpy as np

        self.members, self.names = members, names
        changes = (
            np.flatnonzero(np.diff(members["sample"], prepend=-1)) if len(members) else np.zeros(0, np.int64)
        )
        self.starts = np.append(changes, len(members))

    def _read(self, folder: Path) -> None:
        import numpy as np

        self._take(np.load(folder / "members.npy", allow_pickle=False), (folder / "names").read_bytes())

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sample(self, number: int) -> tuple[str, list[tuple[str, int, int, int]]]:
        """A sample's key, and of each of its members the extension, kind, offset and size."""
        out = []
        for index in range(self.starts[number], self.starts[number + 1]):
            offset, size, end, _, kind = self.members[index].tolist()
            begin = int(self.members[index - 1]["name_end"]) if index else 0
            name = self.names[begin:end].decode("utf-8", "replace")
            out.append((name, kind, offset, size))
        stem = split_name(out[0][0])[0]
        return stem, [(split_name(name)[1], kind, offset, size) for name, kind, offset, size in out]


def split_name(name: str) -> tuple[str, str]:
    """A member's sample and its extension: the file's name is cut at its first dot, as webdataset does."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def _write(folder: Path, path: Path) -> None:
    import numpy as np

    members, names = _walk(path)
    np.save(folder / "members.npy", members, allow_pickle=False)
    (folder / "names").write_bytes(names + b"\n")


def _walk(path: Path) -> tuple[Any, bytes]:
    import numpy as np

    rows: list[tuple[int, int, int, int, int]] = []
    names = bytearray()
    sample, last = -1, None

    def add(name: str, kind: int, offset: int, size: int) -> None:
        nonlocal sample, last
        stem = split_name(name)[0]
        if stem != last:
            sample, last = sample + 1, stem
        names.extend(name.encode("utf-8", "replace"))
        rows.append((offset, size, len(names), sample, kind))

    total, end = path.stat().st_size, 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                end = archive.offset
                if member.isdir():
                    continue
                add(member.name, _kind(member, total), member.offset_data, member.size)
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError, OverflowError, MemoryError):
        add(REST, GARBAGE, end, 0)
    else:
        with open(path, "rb") as file:
            file.seek(end)
            if file.read(512) != b"\0" * 512:
                add(REST, GARBAGE, end, 0)
    kinds = [("offset", "<u8"), ("size", "<u8"), ("name_end", "<u8"), ("sample", "<i8"), ("kind", "u1")]
    return np.array(rows, dtype=kinds), bytes(names)


def _kind(member: tarfile.TarInfo, total: int) -> int:
    if member.issparse():
        return SPARSE
    if member.issym() or member.islnk():
        return LINK
    if not member.isreg():
        return OTHER
    return CUT if member.offset_data + member.size > total else REGULAR


def read_member(handle: int, offset: int, size: int, path: Path) -> bytes:
    """The bytes of a member. ValueError when its header is not where the index says, because the tar was changed."""
    head = os.pread(handle, tarfile.BLOCKSIZE, offset - tarfile.BLOCKSIZE)
    try:
        same = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").size == size
    except tarfile.TarError:
        same = False
    raw = os.pread(handle, size, offset) if same else b""
    if not same or len(raw) != size:
        raise ValueError(f"{path} was changed since it was opened; open it again.")
    return raw
