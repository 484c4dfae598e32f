"""Where fetched pictures lie, and what became of every address that was ever asked for.

    STORE/ab/abcd….jpg      pictures by the SHA-256 of their bytes
    STORE/addresses.jsonl   a row for each address: its picture, or why there is none; the last row of an address counts

One process fetches into a store at a time. A row is written when its picture is there, so that a run that was killed
asks for nothing twice.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any, NamedTuple

from vitrail.data.fetching.pictures import Picture
from vitrail.storage import atomic
from vitrail.storage.log import JsonlLog

ADDRESSES = "addresses.jsonl"


class Result(NamedTuple):
    """What an address gave: ``path`` of the picture below the store, its SHA-256, size in pixels and bytes; or the
    ``reason`` why there is none, which may be ``passing``.
    """

    path: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    reason: str = ""
    detail: str = ""
    passing: bool = False


class Store:
    """``terms``: a hash of the settings under which failures count; under other settings they are tried again."""

    def __init__(self, folder: Path, terms: str) -> None:
        self.folder, self._terms = folder, terms
        self._log = JsonlLog(folder / ADDRESSES, sync_every=64)
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        if self._log.path.is_file():
            self._known = {row["address"]: row for row in self._log}

    def close(self) -> None:
        """Write what is not on the disk yet."""
        self._log.close()

    def known(self, address: str, max_bytes: int, max_pixels: int) -> Result | None:
        """What is known of an address, within these bounds; None where it has to be asked for."""
        row = self._known.get(address)
        if row is None or (row["reason"] and row["terms"] != self._terms):
            return None
        result = Result(**{name: row[name] for name in Result._fields})
        if result.reason:
            return result
        if not self._is_there(result):
            return None
        if result.size > max_bytes:
            return Result(reason="too many bytes", detail=f"{result.size:,}")
        if result.width * result.height > max_pixels:
            return Result(reason="too many pixels", detail=f"{result.width} × {result.height}")
        return result

    def _is_there(self, result: Result) -> bool:
        try:
            return (self.folder / result.path).stat().st_size == result.size
        except OSError:
            return False

    def keep(self, body: bytes, picture: Picture) -> Result:
        """Store a picture."""
        digest = hashlib.sha256(body).hexdigest()
        name = f"{digest[:2]}/{digest}.{picture.suffix}"
        result = Result(name, digest, picture.width, picture.height, len(body))
        if not self._is_there(result):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(self.folder / name, body)
        return result

    def note(self, address: str, result: Result) -> None:
        """Write down what an address gave."""
        row = {"address": address, **result._asdict(), "terms": self._terms if result.reason else ""}
        with self._lock:
            self._log.append(row)
            self._known[address] = row
