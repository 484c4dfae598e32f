"""An embedded store of what is remembered: pictures, vectors and attributes by key, in one SQLite file.

Why SQLite and a flat search: a write is there whole or not at all, whoever is killed; and up to some 100,000 entries
one product of a matrix with a vector is as fast as an approximate index, and exact. ``benchmarks/memory_recall.py``
measures both.

**Gone is gone.** :meth:`MemoryStore.forget` returns when no byte of the entry is left in the store's files: SQLite
overwrites what it frees (``secure_delete``), and the journal of the write is removed. What a file system does with the
blocks of removed files is out of reach.

**One writer, many readers.** A store open for writing holds ``<path>.lock``. Readers see every finished write at their
next question (:attr:`MemoryStore.version` counts them), and never a half one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.storage.lock import FileLock
from vitrail.storage.matrix import Match, Matrix

FORMAT = 1
_APPLICATION = 0x7674726C  # "vtrl", in the file's header
_WAIT = 30.0
_TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
    attributes TEXT NOT NULL, picture BLOB);
CREATE INDEX entries_by_version ON entries (version);
CREATE TABLE spaces (space TEXT PRIMARY KEY, dim INTEGER NOT NULL, encoder TEXT NOT NULL);
CREATE TABLE vectors (
    number INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE, space TEXT NOT NULL REFERENCES spaces,
    vector BLOB NOT NULL, PRIMARY KEY (number, space)) WITHOUT ROWID;
INSERT INTO settings VALUES ('version', '0');
"""


@dataclass(frozen=True)
class Memory:
    """One entry. ``version``: of the store, when this entry was last written."""

    key: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes | None = field(default=None, repr=False)
    version: int = 0


class MemoryStore:
    """The store at ``path``; made if it is not there and ``writing``.

    Use as a context manager, or :meth:`close` it. ValueError for a file that is no store, or of another format;
    :class:`~vitrail.storage.lock.Locked` if somebody else writes; FileNotFoundError where there is nothing to read.
    """

    def __init__(self, path: Path | str, *, writing: bool = False) -> None:
        self.path, self.writing = Path(path), writing
        if not writing and not self.path.exists():
            raise FileNotFoundError(f"there is no memory at {self.path}; vitrail memory add makes one")
        self._lock = FileLock(self.path.with_name(f"{self.path.name}.lock"), f"the memory {self.path}")
        if writing:
            self._lock.acquire()
        try:
            self._db = self._opened()
        except BaseException:
            self._lock.release()
            raise
        self._inside = False
        self._matrices: dict[str, Matrix] = {}

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=DELETE")  # also plays back what a killed writer left
            for setting in ("secure_delete=ON", "synchronous=EXTRA", "foreign_keys=ON", "temp_store=MEMORY"):
                db.execute(f"PRAGMA {setting}")
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (found,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables and not application and self.writing:
                db.executescript(
                    f"BEGIN; PRAGMA application_id={_APPLICATION}; PRAGMA user_version={FORMAT}; {_TABLES} COMMIT;"
                )
            elif application != _APPLICATION:
                raise ValueError(f"{self.path} is no memory of vitrail; name another file")
            elif found != FORMAT:
                raise ValueError(
                    f"{self.path} has format {found}, and this vitrail reads {FORMAT}; install the one that wrote it"
                )
            if not self.writing:
                db.execute("PRAGMA query_only=ON")
        except sqlite3.DatabaseError as error:
            db.close()
            raise ValueError(f"{self.path} cannot be read as a memory: {error}; name another file") from None
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Let go of the file, and of the writer's lock."""
        self._db.close()
        self._lock.release()

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def version(self) -> int:
        """How many writes the store has seen."""
        return int(self.setting("version") or 0)

    def setting(self, name: str) -> str | None:
        """A word kept with the store, or None."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def keep_setting(self, name: str, value: str) -> None:
        """Keep a word with the store. ValueError for ``version``, which counts by itself."""
        if name == "version":
            raise ValueError("setting 'version' is the store's own count of writes; choose another name")
        with self.batch():
            self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Writes inside are one write: all of them are there, or (after an error or a kill) none."""
        if not self.writing:
            raise ValueError(f"the memory {self.path} is open for reading; open it with writing=True")
        if self._inside:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._inside = True
        try:
            self._db.execute("UPDATE settings SET value = value + 1 WHERE name = 'version'")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    def put(
        self,
        key: str,
        attributes: Mapping[str, Any] | None = None,
        picture: bytes | None = None,
        vectors: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write an entry; one of the same key is replaced whole, its vectors too.

        ``attributes`` are what JSON can say; ``vectors`` of shape ``(dim,)`` by space (:meth:`declare`). ValueError for
        an empty key, an unknown space, or a vector of another width or with values that are not finite.
        """
        if not key:
            raise ValueError("a memory's key is empty; give it a name")
        ready = {space: self._checked(space, vector) for space, vector in (vectors or {}).items()}
        written = json.dumps(dict(attributes or {}), ensure_ascii=False, allow_nan=False)
        with self.batch():
            (number,) = self._db.execute(
                "INSERT INTO entries (key, version, attributes, picture) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO "
                "UPDATE SET version = excluded.version, attributes = excluded.attributes, picture = excluded.picture "
                "RETURNING number",
                (key, self.version, written, picture),
            ).fetchone()
            self._db.execute("DELETE FROM vectors WHERE number = ?", (number,))
            self._db.executemany(
                "INSERT INTO vectors VALUES (?, ?, ?)",
                [(number, space, vector.tobytes()) for space, vector in ready.items()],
            )

    def forget(self, *keys: str) -> None:
        """Remove entries, all or none; their bytes are gone when this returns. ValueError for an unknown key."""
        with self.batch():
            for key in keys:
                if not self._db.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount:
                    raise ValueError(
                        f"{self.path} remembers no {key!r}; vitrail memory list shows what it does"
                    )

    def get(self, key: str) -> Memory | None:
        """An entry with its picture, or None."""
        row = self._db.execute(
            "SELECT key, attributes, picture, version FROM entries WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Memory(row[0], json.loads(row[1]), row[2], row[3])

    def entries(self) -> list[Memory]:
        """Every entry in the order of their first writing, without pictures."""
        rows = self._db.execute("SELECT key, attributes, version FROM entries ORDER BY number")
        return [Memory(key, json.loads(attributes), None, version) for key, attributes, version in rows]

    def values(self, attribute: str) -> list[Any]:
        """The different values of an attribute, where entries have it, in no order."""
        rows = self._db.execute(
            "SELECT DISTINCT json_extract(attributes, ?) FROM entries", (f'$."{attribute}"',)
        )
        return [value for (value,) in rows if value is not None]

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM entries").fetchone()[0])

    def __contains__(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone() is not None

    def declare(self, space: str, dim: int, encoder: str) -> None:
        """Make a space for vectors of width ``dim`` by ``encoder`` (a fingerprint), or check that it is this one.

        ValueError if the space's vectors are of another width or encoder.
        """
        known = self.space(space)
        if known is None:
            with self.batch():
                self._db.execute("INSERT INTO spaces VALUES (?, ?, ?)", (space, dim, encoder))
        elif known != (dim, encoder):
            raise ValueError(
                f"space {space!r} of {self.path} holds vectors of width {known[0]} by encoder {known[1][:12]}, and "
                f"this encoder ({encoder[:12]}) gives {dim}; use the same encoder, or a new memory"
            )

    def space(self, space: str) -> tuple[int, str] | None:
        """Width and encoder of a space; None if there is no such."""
        row = self._db.execute("SELECT dim, encoder FROM spaces WHERE space = ?", (space,)).fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def nearest(self, space: str, queries: np.ndarray, k: int) -> list[list[Match]]:
        """For each row of ``queries (queries, dim)``, its ``k`` entries of least L2 distance, nearest first.

        Exact; among equals the older entry comes first. ValueError for ``k`` below 0, or an unknown space or width.
        """
        if k < 0:
            raise ValueError(f"k is {k}; give 0 or more")
        queries = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        for query in queries:
            self._checked(space, query)
        matrix = self._matrices.setdefault(space, Matrix(space))
        self._db.execute("BEGIN")
        try:
            matrix.refresh(self._db, self.version)
            found = [matrix.nearest(query, k) for query in queries]
            names = self._keys({number for row in found for number, _ in row})
        finally:
            self._db.execute("COMMIT")
        return [[Match(names[number], distance) for number, distance in row] for row in found]

    def _keys(self, numbers: set[int]) -> dict[int, str]:
        find = "SELECT key FROM entries WHERE number = ?"
        return {number: self._db.execute(find, (number,)).fetchone()[0] for number in numbers}

    def _checked(self, space: str, vector: np.ndarray) -> np.ndarray:
        known = self.space(space)
        if known is None:
            raise ValueError(f"{self.path} has no space {space!r}; declare it first")
        vector = np.ascontiguousarray(vector, dtype="<f4")
        if vector.shape != (known[0],):
            raise ValueError(
                f"a vector of shape {vector.shape} does not fit space {space!r} of width {known[0]}; use the encoder "
                "that filled it"
            )
        if not np.isfinite(vector).all():
            raise ValueError(
                f"a vector for space {space!r} has values that are not finite; look at its encoder"
            )
        return vector
