"""Packing: several records share a row, so that little of a batch is padding.

A row holds at most ``length`` tokens. Which records share one is decided from their lengths alone (pictures cost what
their plans say, nothing is decoded), by first-fit decreasing: within a window of a shuffled epoch the longest record
comes first and goes into the first row that has room. That needs at most 11/9 of the fewest possible rows, and one
more (Johnson 1973). Windows bound the work and keep an epoch random; its rows are shuffled again. Records are never
divided, so no picture's tokens are.

An epoch's rows hold each record exactly once. They follow from (seed, epoch, lengths), so resuming needs no state, and
neither workers nor processes change them. What does not fill the last optimiser step opens the next epoch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vitrail.training.sampling import shuffled

BINS = 10
"""Bars of the histogram of how full rows are."""

Row = tuple[int, ...]
"""The numbers of the records that share a row, in their order."""


class Packing(BaseModel):
    """``length``: the most tokens a row holds. ``window``: how many records are looked at together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(ge=1)
    window: int = Field(default=4096, ge=2)


@dataclass(frozen=True)
class Fill:
    """How full rows are: ``tokens`` of records among ``places`` of all rows.

    ``histogram``: rows by tenths of their length, the emptiest first (empty where rows have no fixed length).
    """

    rows: int
    records: int
    tokens: int
    places: int
    histogram: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """Real tokens of all tokens."""
        return self.tokens / max(self.places, 1)

    def sentence(self, length: int) -> str:
        """For a run's output."""
        bars = ", ".join(
            f"{count:,} to {100 * (bar + 1) // BINS} %" for bar, count in enumerate(self.histogram) if count
        )
        return (
            f"{self.records:,} records share {self.rows:,} rows of {length:,} tokens, {self.share:.1%} full "
            f"(rows filled: {bars})"
        )


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of places in ``lengths``, by first-fit decreasing; inside a row places rise.

    ValueError for a length beyond ``capacity``.
    """
    known = np.asarray(lengths, dtype=np.int64)
    if len(known) and known.max() > capacity:
        raise ValueError(f"a length of {known.max()} does not fit into {capacity}")
    room = np.full(len(known), capacity, dtype=np.int64)
    rows: list[list[int]] = []
    begin = 0  # rows before it have no room for the shortest
    shortest = int(known.min()) if len(known) else 0
    for place in np.argsort(-known, kind="stable").tolist():
        length = int(known[place])
        row = begin + int((room[begin : len(rows) + 1] >= length).argmax())
        if row == len(rows):
            rows.append([])
        rows[row].append(place)
        room[row] -= length
        while begin < len(rows) and room[begin] < shortest:
            begin += 1
    return [sorted(row) for row in rows]


def epoch_rows(lengths: Sequence[int], packing: Packing, seed: int, epoch: int) -> list[Row]:
    """The rows of an epoch, shuffled: each record is in exactly one."""
    known = np.asarray(lengths, dtype=np.int64)
    order = shuffled(len(known), seed, epoch)
    rows: list[Row] = []
    for start in range(0, len(order), packing.window):
        window = order[start : start + packing.window]
        rows += [tuple(window[row].tolist()) for row in first_fit(known[window].tolist(), packing.length)]
    return [rows[index] for index in shuffled(len(rows), seed, epoch, 1)]


def packed_steps(lengths: Sequence[int], size: int, seed: int, packing: Packing) -> Iterator[list[Row]]:
    """Endless: the ``size`` rows of each optimiser step.

    ValueError for records longer than a row, or a step of more rows than an epoch is sure to have.
    """
    check(lengths, packing, size)
    left: list[Row] = []
    for epoch in itertools.count():
        rows = epoch_rows(lengths, packing, seed, epoch)
        if left:
            first, rows = _apart(rows, left, size - len(left))
            yield left + first
        whole = len(rows) - len(rows) % size
        left = rows[whole:]
        for start in range(0, whole, size):
            yield rows[start : start + size]


def _apart(rows: list[Row], others: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """``count`` of ``rows``, and the rest; those first that hold no record of ``others``, where there are as many."""
    late = set(itertools.chain.from_iterable(others))
    order = sorted(range(len(rows)), key=lambda index: not late.isdisjoint(rows[index]))
    chosen = set(order[:count])
    return [rows[index] for index in order[:count]], [
        row for index, row in enumerate(rows) if index not in chosen
    ]


def check(lengths: Sequence[int], packing: Packing, size: int = 1) -> None:
    """ValueError for records longer than a row, or a step of ``size`` rows, more than an epoch is sure to have."""
    long = [number for number, length in enumerate(lengths) if length > packing.length]
    if long:
        most = max(int(lengths[number]) for number in long)
        raise ValueError(
            f"packing.length is {packing.length}, but {len(long):,} of {len(lengths):,} records are longer (record "
            f"{long[0]} has {int(lengths[long[0]])} tokens, the longest {most}), and none is ever cut; raise it, or "
            f"give the data max_length: {packing.length} with too_long: drop or cut_turns"
        )
    if size > (fewest := fewest_rows(lengths, packing)):
        raise ValueError(
            f"one optimiser step takes {size} rows (batch_size × accumulation × processes), but all records fill no "
            f"more than {fewest} of {packing.length} tokens; make one of them smaller"
        )


def fewest_rows(lengths: Sequence[int], packing: Packing) -> int:
    """What no epoch goes below: all tokens in full rows."""
    return math.ceil(sum(int(length) for length in lengths) / packing.length)


def expected_rows(records: int, tokens: float, packing: Packing) -> int:
    """About how many rows ``records`` of ``tokens`` on average make, where only that is known; for plans."""
    fitting = max(packing.length // max(tokens, 1.0), 1.0)
    by_count, by_tokens = records / fitting, records * tokens / packing.length
    return max(1, math.ceil(min(by_count, by_tokens * 11 / 9)))


def rows_of_epochs(lengths: Sequence[int], packing: Packing, seed: int, epochs: float) -> float:
    """Rows of so many epochs, a last one in part."""
    counts = [len(epoch_rows(lengths, packing, seed, epoch)) for epoch in range(math.ceil(epochs - 1e-9))]
    part = epochs - (len(counts) - 1)
    return sum(counts[:-1]) + part * counts[-1]


def fill_of(rows: Sequence[Row], lengths: Sequence[int], packing: Packing) -> Fill:
    """How full ``rows`` are, each taken for as long as a row may be."""
    tokens = np.array([sum(int(lengths[number]) for number in row) for row in rows], dtype=np.int64)
    bars = np.bincount(np.clip(-(-tokens * BINS // packing.length) - 1, 0, BINS - 1), minlength=BINS)
    return Fill(
        rows=len(rows),
        records=sum(map(len, rows)),
        tokens=int(tokens.sum()),
        places=len(rows) * packing.length,
        histogram=tuple(bars.tolist()),
    )


def padded_fill(steps: Iterator[Any], lengths: Sequence[int], accumulation: int, world: int) -> Fill:
    """How full batches are that are padded to their longest record: the ``steps`` of one epoch."""
    known, rows, tokens, places = np.asarray(lengths, dtype=np.int64), 0, 0, 0
    for step in steps:
        micro = known[np.asarray(step)].reshape(accumulation, -1, world)
        rows += micro.size
        tokens += int(micro.sum())
        places += int(micro.max(axis=1).sum()) * micro.shape[1]
    return Fill(rows, rows, tokens, places)
