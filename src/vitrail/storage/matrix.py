"""The vectors of one space of a memory, in memory: brought up to date by what changed, searched flat and exactly."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import numpy as np

_ROUNDING = 1e-4
"""More than float32 errs in a squared distance of vectors of length 1; scaled for longer ones."""


class Match(NamedTuple):
    """An entry found, and its L2 distance."""

    key: str
    distance: float


class Matrix:
    """Rows in the order of entries' numbers."""

    def __init__(self, space: str) -> None:
        self._space = space
        self._version = -1
        self._numbers = np.zeros(0, dtype=np.int64)
        self._rows = np.zeros((0, 0), dtype=np.float32)
        self._squares = np.zeros(0, dtype=np.float32)

    def refresh(self, db: sqlite3.Connection, version: int) -> None:
        """Read what was written since the last time; what was removed leaves."""
        if version == self._version:
            return
        since = (self._version,)
        # Entries first, by their index: neither query walks through the vectors.
        changed = db.execute(
            "SELECT v.number, v.vector FROM entries e CROSS JOIN vectors v ON v.number = e.number AND v.space = ? "
            "WHERE e.version > ?",
            (self._space, *since),
        ).fetchall()
        written = _column(db.execute("SELECT number FROM entries WHERE version > ?", since))
        live = _column(db.execute("SELECT number FROM entries"))
        new = np.array([number for number, _ in changed], dtype=np.int64)
        keep = np.isin(self._numbers, live) & ~np.isin(self._numbers, written)
        read = np.frombuffer(b"".join(vector for _, vector in changed), dtype="<f4").astype(np.float32)
        rows = read.reshape(len(new), -1) if len(new) else self._rows[:0]
        if keep.any():
            rows = np.concatenate([self._rows[keep], rows])
        numbers = np.concatenate([self._numbers[keep], new])
        if len(numbers) > 1 and (np.diff(numbers) < 0).any():
            order = np.argsort(numbers)
            numbers, rows = numbers[order], rows[order]
        self._numbers, self._rows = numbers, rows
        self._squares = np.einsum("nd,nd->n", rows, rows)
        self._version = version

    def nearest(self, query: np.ndarray, k: int) -> list[tuple[int, float]]:
        """The ``k`` entries' numbers with least distance from ``query (dim,)``, and the distances.

        The product in float32 leaves those that can be among them; they are told apart in float64, so that neither the
        number of rows nor the machine's way to multiply changes an order.
        """
        k = min(k, len(self._numbers))
        if k == 0:
            return []
        rough = self._squares - 2 * (self._rows @ query)
        scale = 1 + float(query @ query) + float(self._squares.max())
        bound = np.partition(rough, k - 1)[k - 1] + _ROUNDING * scale
        near = np.flatnonzero(rough <= bound)
        apart = self._rows[near].astype(np.float64) - query.astype(np.float64)
        distances = np.sqrt(np.square(apart).sum(axis=1))
        order = np.lexsort((self._numbers[near], distances))[:k]
        return [(int(self._numbers[near[place]]), float(distances[place])) for place in order]


def _column(rows: sqlite3.Cursor) -> np.ndarray:
    return np.array([row[0] for row in rows], dtype=np.int64)
