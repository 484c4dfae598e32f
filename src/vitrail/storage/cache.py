"""Content-addressed caches: what was made from equal inputs is made once.

A key is a hash of everything that the result depends on. An entry is there whole or not at all, so two
processes that make the same entry at once both finish, and the first to finish is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrail.storage.atomic import sync_folder

_PARTIAL = ".partial-"


def default_root() -> Path:
    """``$VITRAIL_CACHE``, or ``~/.cache/vitrail``."""
    chosen = os.environ.get("VITRAIL_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "vitrail"


def canonical_json(value: Any) -> bytes:
    """JSON, keys sorted, no spaces: equal values give equal bytes. TypeError for what JSON cannot hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def key(*parts: Any) -> str:
    """The SHA-256 (64 hex digits) of ``parts``: bytes, or whatever JSON can hold.

    Parts cannot run into each other: ``key("ab", "c") != key("a", "bc")``. TypeError for anything else (a
    path would name a file, not its content).
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, (bytes, bytearray, memoryview)):
            tag, raw = b"b", bytes(part)
        else:
            tag, raw = b"j", canonical_json(part)
        digest.update(tag + len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def file_digest(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FolderCache:
    """Folders by key under ``root`` (default :func:`default_root`)."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root) if root is not None else default_root()

    def path(self, key: str) -> Path:
        """Where the entry of ``key`` is, or would be."""
        if len(key) < 8 or not all(c in "0123456789abcdef" for c in key):
            raise ValueError(
                f"a cache key is hexadecimal, as vitrail.storage.cache.key() gives; got {key!r}."
            )
        return self.root / key[:2] / key

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_dir()

    def get_or_make(self, key: str, make: Callable[[Path], None]) -> Path:
        """The entry's folder; ``make(folder)`` fills an empty one first when the entry is not there.

        An error in ``make`` leaves nothing behind. RuntimeError when it leaves the folder empty.
        """
        target = self.path(key)
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=target.parent))
        temporary.chmod(0o755)
        try:
            make(temporary)
            files = [file for file in temporary.rglob("*") if file.is_file()]
            if not files:
                raise RuntimeError(f"nothing was written for the cache entry {key}")
            for file in files:
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
            try:
                os.rename(temporary, target)
            except OSError:
                # Somebody else made the same entry meanwhile: equal key, equal content, theirs is as good.
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_folder(target.parent)
        return target

    def remove(self, key: str) -> bool:
        """Drop an entry; False if it was not there. It disappears at once, even when removal is cut short."""
        target = self.path(key)
        if not target.is_dir():
            return False
        grave = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=target.parent))
        os.rename(target, grave / "entry")
        shutil.rmtree(grave, ignore_errors=True)
        return True

    def sweep(self, older_than_hours: float = 24.0) -> int:
        """Remove what killed processes left half-made; returns how many. Recent ones may be in the making."""
        limit = time.time() - older_than_hours * 3600
        stale = [entry for entry in self.root.glob(f"*/{_PARTIAL}*") if entry.stat().st_mtime < limit]
        for entry in stale:
            shutil.rmtree(entry, ignore_errors=True)
        return len(stale)
