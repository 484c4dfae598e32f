"""Random draws that stay the same for ever.

NumPy promises that a bit generator's stream never changes, but not what ``Generator``'s methods make of it. A
frozen suite needs both, so the few methods that scenes use are written here, on the raw 64-bit stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class Draws:
    """A stream of draws that depends on ``key`` only: equal keys, equal draws, in any process."""

    def __init__(self, *key: str | int) -> None:
        digest = hashlib.sha256(
            "\x1f".join(f"{type(part).__name__}:{part}" for part in key).encode()
        ).digest()
        self._philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def _raw(self) -> int:
        return int(self._philox.random_raw())

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        if high < low:
            raise ValueError(f"no whole number lies between {low} and {high}")
        return low + self._raw() % (high - low + 1)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from ``low`` (included) to ``high`` (excluded)."""
        return low + (high - low) * ((self._raw() >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return items[self.integer(0, len(items) - 1)]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different ones of ``items`` in random order."""
        if count > len(items):
            raise ValueError(f"cannot draw {count} different ones of {len(items)}")
        pool = list(items)
        for i in range(count):
            j = self.integer(i, len(pool) - 1)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:count]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All ``items`` in random order."""
        return self.sample(items, len(items))

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, in proportion to its weight."""
        mark = self.uniform(0, sum(weights.values()))
        chosen = None
        for item, weight in weights.items():
            if weight > 0:
                chosen = item
                mark -= weight
                if mark < 0:
                    break
        if chosen is None:
            raise ValueError("no weight is above 0")
        return chosen

    def bytes(self, rows: int, cols: int) -> npt.NDArray[np.uint8]:
        """Uniform bytes ``(rows, cols)``."""
        raw = self._philox.random_raw(rows * cols)
        return (raw >> np.uint64(56)).astype(np.uint8).reshape(rows, cols)
