"""Drawing from several sources in exact proportions.

Two rules. *Running*: the next record comes from the source that is furthest behind its share, so that at any moment
each source is within about one record (or, counted in tokens, one document) of it. *Rounds* of n: ⌊p_i · n⌋ records of
each source and the remainder from the last that has a share, as Skill-It draws (arXiv 2307.14430).

Each source is read in an endless order of its own: shuffled, every record once before any comes again, then shuffled
anew. Everything follows from the seed and what was drawn before, so that a stage that is resumed draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

Unit = Literal["records", "tokens"]


def permutation(count: int, *key: int) -> np.ndarray:
    """An order of ``range(count)`` drawn from whole numbers; the same with every version of NumPy."""
    draws = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(draws, kind="stable")


class Pool:
    """The endless order of one source of ``count`` records; ``number`` tells it from the others of a mixture."""

    def __init__(self, count: int, seed: int, number: int = 0) -> None:
        if count < 1:
            raise ValueError(f"source {number} of the mixture is empty; remove it, or give it records")
        self.count, self.seed, self.number = count, seed, number
        self.position = 0
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def take(self, n: int) -> Int[np.ndarray, "{n}"]:
        """The numbers of the next ``n`` records."""
        found = []
        while n > 0:
            epoch, place = divmod(self.position, self.count)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, permutation(self.count, self.seed, self.number, epoch)
            part = self._order[place : place + n]
            found.append(part)
            self.position += len(part)
            n -= len(part)
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def shares(weights: Sequence[float] | np.ndarray, temperature: float = 1.0) -> Float[np.ndarray, "sources"]:
    """Weights as shares of one: ``w_i^(1/temperature)``, divided by their sum. Higher temperatures are more even.

    ValueError for weights below 0 or not finite, for nothing but zeros, and for a temperature that is not above 0.
    """
    known = np.asarray(weights, dtype=np.float64)
    bad = [index for index, weight in enumerate(known) if not (math.isfinite(weight) and weight >= 0)]
    if bad:
        raise ValueError(
            f"the share of source {bad[0]} is {known[bad[0]]}; give a finite number of 0 or more"
        )
    if not known.sum() > 0:
        raise ValueError("no source has a share above 0, so there is nothing to draw; give one of them more")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature}; give a number above 0 (1 leaves shares as they are)")
    scaled = np.zeros_like(known)
    there = known > 0
    logs = np.log(known[there]) / temperature
    scaled[there] = np.exp(logs - logs.max())
    return scaled / scaled.sum()


def round_counts(n: int, mixture: Sequence[float] | np.ndarray) -> Int[np.ndarray, "sources"]:
    """How many of ``n`` draws each source has: ⌊p_i · n⌋, and what is left over for the last that has a share."""
    p = np.asarray(mixture, dtype=np.float64)
    # A share that is a whole number of draws up to rounding is that number.
    counts = np.floor(p * n + 1e-9).astype(np.int64)
    last = int(np.flatnonzero(p > 0)[-1])
    counts[last] += n - counts.sum()
    return counts


class Draws:
    """Draws from sources of ``counts`` records, which are numbered through: the first source's come first.

    ``lengths``: the tokens of every record, in that numbering; needed where ``unit`` is ``tokens``.
    """

    def __init__(
        self,
        counts: Sequence[int],
        seed: int,
        unit: Unit = "records",
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self.pools = [Pool(count, seed, number) for number, count in enumerate(counts)]
        self.offsets = np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64)
        self.seed, self.unit, self.rounds = seed, unit, 0
        self.lengths = None if lengths is None else np.asarray(lengths, dtype=np.float64)
        if unit == "tokens" and (self.lengths is None or len(self.lengths) != sum(counts)):
            raise ValueError("a mixture that is counted in tokens needs the tokens of every record")
        self.drawn = np.zeros(len(self.pools))
        """What was drawn of each source so far, in ``unit``."""

    def running(self, n: int, mixture: np.ndarray) -> Int[np.ndarray, "{n}"]:
        """The next ``n`` records, each from the source that is furthest behind."""
        found = np.empty(n, dtype=np.int64)
        for place in range(n):
            found[place] = self._next(mixture)
        return found

    def running_tokens(self, tokens: float, mixture: np.ndarray) -> list[int]:
        """The next records, until there are ``tokens`` more in ``unit``."""
        found, wanted = [], self.drawn.sum() + tokens
        while self.drawn.sum() < wanted:
            found.append(self._next(mixture))
        return found

    def _next(self, mixture: np.ndarray) -> int:
        total = self.drawn.sum() + (1 if self.unit == "records" else 0)
        behind = np.where(mixture > 0, mixture * total - self.drawn, -np.inf)
        # With nothing drawn yet, counted in tokens, all are equally far behind: the largest share begins.
        source = int(np.argmax(behind if total > 0 else mixture))
        record = int(self.offsets[source] + self.pools[source].take(1)[0])
        self.drawn[source] += 1 if self.lengths is None or self.unit == "records" else self.lengths[record]
        return record

    def round(self, n: int, mixture: np.ndarray) -> Int[np.ndarray, "{n}"]:
        """A round of ``n`` records by the floor rule, shuffled."""
        counts = round_counts(n, mixture)
        parts = [
            offset + pool.take(int(count))
            for pool, offset, count in zip(self.pools, self.offsets, counts, strict=True)
        ]
        found = np.concatenate(parts)
        self.drawn += counts
        self.rounds += 1
        return found[permutation(n, self.seed, 1 << 30, self.rounds)]


class MixtureDataset:
    """Pools of records by name, to be drawn from in rounds.

    ``pools``: anything with a length and numbered items. ValueError for an empty pool that has a share.
    """

    def __init__(self, pools: dict[str, Sequence[Any]]) -> None:
        if not pools:
            raise ValueError("a mixture needs at least one pool")
        self.pools = pools

    def draw(self, n: int, mixture: Sequence[float], seed: int) -> list[tuple[str, Any]]:
        """``n`` records with the name of their pool, shuffled; counts by the floor rule.

        A pool with fewer records than its count is read again from its beginning, in another order.
        """
        if len(mixture) != len(self.pools):
            raise ValueError(f"the mixture has {len(mixture)} shares for {len(self.pools)} pools")
        counts = round_counts(n, shares(mixture))
        drawn: list[tuple[str, Any]] = []
        for number, ((name, pool), count) in enumerate(zip(self.pools.items(), counts, strict=True)):
            if count and not len(pool):
                raise ValueError(
                    f"the pool {name!r} is empty and has a share of {mixture[number]:g}; give it records"
                )
            if count:
                drawn += [
                    (name, pool[int(index)]) for index in Pool(len(pool), seed, number).take(int(count))
                ]
        return [drawn[index] for index in permutation(n, seed, 1 << 30)]
