"""An append-only log of JSON lines that survives being killed.

Each :meth:`JsonlLog.append` is one ``write`` of whole lines, so a killed process leaves whole lines and at
most one torn last line. Opening the log for writing cuts a torn line off; reading never shows it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vitrail.storage.atomic import new_file
from vitrail.storage.lock import Locked, drop_in_children, lock_handle, unlock_and_close


class _Line(NamedTuple):
    number: int
    end: int
    row: dict[str, Any]


class JsonlLog:
    """Rows (JSON objects) in the file ``path``.

    Args:
        path: the file; it and its folder are made by the first append.
        unique: names of the fields that together identify a row. A second row of the same key is refused, and
            :meth:`seen` tells which keys are there, so that a resumed run asks nothing twice.
        sync_every: flush to the disk after this many appends (and on :meth:`close`). What is appended
            survives the death of the process in any case; this is about the machine's.

    One process writes a log at a time (``flock``); readers are free. Reading a log that does not exist gives
    no rows. ValueError for a line in the middle that is no JSON object: file and line are named.
    """

    def __init__(self, path: Path | str, unique: str | tuple[str, ...] | None = None, sync_every: int = 1):
        if sync_every < 1:
            raise ValueError(f"sync_every is {sync_every}; give 1 (each row) or more.")
        self.path = Path(path)
        self.unique = (unique,) if isinstance(unique, str) else unique
        self.sync_every = sync_every
        self.torn = 0
        self._handle: int | None = None
        self._unsynced = 0
        self._keys: set[Hashable] | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row. ValueError for a key that is there already or missing from the row."""
        self.extend([row])

    def extend(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add some rows by one ``write``: a killed process leaves all of them or, nearly always, none.

        ValueError for a key that is there already, twice among them or missing; then nothing is added.
        """
        lines = b"".join(map(_line, rows))
        handle = self._open()
        keys = [self.key(row) for row in rows] if self.unique else []
        for place, key in enumerate(keys):
            if key in self._known() or key in keys[:place]:
                raise ValueError(f"{self.path} has a row with {self._describe(key)} already.")
        start = os.fstat(handle).st_size
        try:
            written = os.write(handle, lines)
            while written < len(lines):
                written += os.write(handle, lines[written:])
        except BaseException:
            os.ftruncate(handle, start)
            raise
        if self._keys is not None:
            self._keys.update(keys)
        self._unsynced += len(rows)
        if self._unsynced >= self.sync_every:
            self._sync()

    def read(self) -> list[dict[str, Any]]:
        """Every whole row, in order."""
        return list(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (line.row for line in self._lines())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def key(self, row: Mapping[str, Any]) -> Hashable:
        """What identifies ``row``: the value of its ``unique`` field, or the tuple of several."""
        assert self.unique, "this log was made without unique="
        missing = [name for name in self.unique if name not in row]
        if missing:
            raise ValueError(
                f"a row for {self.path} lacks {missing[0]!r}, which identifies it; it has {sorted(row)}."
            )
        values = tuple(row[name] for name in self.unique)
        return values[0] if len(values) == 1 else values

    def seen(self) -> frozenset[Hashable]:
        """The keys of the rows that are there."""
        return frozenset(self._known())

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known()

    def truncate_after(self, keep: Callable[[dict[str, Any]], bool]) -> int:
        """Cut the log at the first row for which ``keep(row)`` is false; returns how many rows went.

        ``log.truncate_after(lambda row: row["step"] <= 120)`` takes a log back to a checkpoint.
        """
        handle = self._open()
        end, cut = 0, 0
        for line in self._lines():
            if cut or not keep(line.row):
                cut += 1
            else:
                end = line.end
        if cut:
            os.ftruncate(handle, end)
            self._keys = None
            self._sync()
        return cut

    def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put ``rows`` in the place of all that is there: a killed process leaves the old log or the new one."""
        before = self._open()
        with new_file(self.path) as file:
            for row in rows:
                file.write(_line(row))
        self._handle = None
        try:
            self._open()
        finally:
            unlock_and_close(before)

    def close(self) -> None:
        """Flush and give the log back to other writers."""
        if self._handle is not None:
            self._sync()
            unlock_and_close(self._handle)
            self._handle = None

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                lock_handle(handle, f"the log {self.path}")
                if not os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    raise Locked(f"the log {self.path} was rewritten by another process just now; try again")
                self.torn = _mend(handle)
            except BaseException:
                os.close(handle)
                raise
            self._handle, self._keys = handle, None
            drop_in_children(self)
        return self._handle

    def _forget(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _sync(self) -> None:
        assert self._handle is not None
        os.fsync(self._handle)
        self._unsynced = 0

    def _known(self) -> set[Hashable]:
        if self._keys is None:
            keys: set[Hashable] = set()
            for line in self._lines():
                key = self.key(line.row)
                if key in keys:
                    raise ValueError(
                        f"{self.path}, line {line.number}: second row with {self._describe(key)}."
                    )
                keys.add(key)
            if self._handle is None:
                return keys
            self._keys = keys
        return self._keys

    def _describe(self, key: Hashable) -> str:
        assert self.unique
        values = key if isinstance(key, tuple) and len(self.unique) > 1 else (key,)
        return ", ".join(f"{name} {value!r}" for name, value in zip(self.unique, values, strict=True))

    def _lines(self) -> Iterator[_Line]:
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file:
            end = 0
            for number, raw in enumerate(file, 1):
                whole = raw.endswith(b"\n")
                row = _parse(raw)
                if row is None and not whole:
                    return
                if row is None:
                    raise ValueError(
                        f"{self.path}, line {number}: not a JSON object ({raw[:60]!r}); "
                        "repair or remove this line, or remove the file to start again."
                    )
                end += len(raw)
                yield _Line(number, end, row)


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(raw)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _mend(handle: int) -> int:
    """End the file with a whole line: finish a last row that only lacks its newline, cut off anything less.

    Returns the number of bytes cut.
    """
    size = os.fstat(handle).st_size
    tail, start = b"", size
    while start > 0 and b"\n" not in tail:
        block = min(65536, start)
        start -= block
        tail = os.pread(handle, block, start) + tail
    torn = tail.rpartition(b"\n")[2]
    if not torn:
        return 0
    if _parse(torn) is not None:
        os.write(handle, b"\n")
        return 0
    os.ftruncate(handle, size - len(torn))
    os.fsync(handle)
    return len(torn)


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, separators=(", ", ": "), default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy and torch as JSON's; anything else is the caller's mistake."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_log(path: Path | str) -> list[dict[str, Any]]:
    """Every whole row of the log at ``path``, without opening it for writing."""
    return JsonlLog(path).read()
