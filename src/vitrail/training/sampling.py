"""The order of records: batches of similar length, shuffled, the same for the same seed.

An epoch is a permutation drawn from (seed, epoch) alone. It is cut into windows of some optimiser steps;
inside a window records are sorted by length, so that the records of a step have similar lengths; then the
steps of the epoch are shuffled. Every step has the same number of records: what does not fill the last one
opens the next epoch. The records of a step do not depend on how it is divided into micro-batches and
processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vitrail.training.division import Division

WINDOW = 32
"""Optimiser steps whose records are sorted together."""


def shuffled(count: int, *key: int) -> np.ndarray:
    """A permutation of ``range(count)`` drawn from whole numbers; the same with every version of NumPy."""
    draws = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(draws, kind="stable")


def step_batches(
    count: int, size: int, seed: int, lengths: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """Endless: the records of each optimiser step, ``size`` of ``count`` each, longest last.

    ValueError if a step is larger than the data: records would meet themselves in a batch.
    """
    if size > count:
        raise ValueError(
            f"one optimiser step takes {size} records (batch_size × accumulation × processes), "
            f"but the data has {count}; make it smaller"
        )
    known = None if lengths is None else np.asarray(lengths)
    if known is not None and len(known) != count:
        raise ValueError(f"{len(known)} lengths for {count} records")
    left = np.empty(0, dtype=np.int64)
    for epoch in itertools.count():
        order = shuffled(count, seed, epoch)
        if len(left):
            late = np.isin(order, left)  # a record left over from last epoch must not meet itself
            order = np.concatenate([order[~late], order[late]])
            missing = size - len(left)
            yield _by_length(np.concatenate([left, order[:missing]]), known)
            order = order[missing:]
        whole = len(order) - len(order) % size
        left = order[whole:]
        windows = (
            order[start : min(start + WINDOW * size, whole)] for start in range(0, whole, WINDOW * size)
        )
        steps = [step for window in windows for step in _by_length(window, known).reshape(-1, size)]
        for index in shuffled(len(steps), seed, epoch, 1):
            yield steps[index]


def _by_length(records: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    return records if lengths is None else records[np.argsort(lengths[records], kind="stable")]


class BatchSampler:
    """Micro-batches of one process for a whole stage, as lists of record numbers; a ``batch_sampler`` for
    torch.

    ``steps`` optimiser steps of ``accumulation`` micro-batches, each with ``batch_size`` records for each of
    ``world`` processes, of which this is number ``rank``. Iterating is cheap: no record is read, so skipping
    is. ``order`` gives other steps than :func:`step_batches`, for the size of one (packed rows, for example).
    ``division``: of a stage that was begun on another number of processes; its steps and, where that is possible, its
    micro-batches stay as they were.
    """

    def __init__(
        self,
        count: int,
        *,
        steps: int,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
        lengths: Sequence[int] | None = None,
        rank: int = 0,
        world: int = 1,
        order: Callable[[int], Iterator[Any]] | None = None,
        division: Division | None = None,
    ) -> None:
        self.count, self.steps, self.seed, self.lengths = count, steps, seed, lengths
        self.rank, self.order = rank, order
        self.division = division or Division(batch_size, accumulation, world, world)
        self.drop_last = False

    @property
    def size(self) -> int:
        """Records (or rows) of an optimiser step on all processes."""
        return self.division.size

    def __len__(self) -> int:
        return self.steps * self.division.micro_batches

    def optimiser_steps(self) -> Iterator[Any]:
        """Endless: what each optimiser step takes, on all processes."""
        if self.order is not None:
            return self.order(self.size)
        return step_batches(self.count, self.size, self.seed, self.lengths)

    def __iter__(self) -> Iterator[list[Any]]:
        for step in itertools.islice(self.optimiser_steps(), self.steps):
            yield from self.split(step)

    def split(self, step: np.ndarray | Sequence[Any]) -> list[list[Any]]:
        """This process's micro-batches of a step."""
        entries = step.tolist() if isinstance(step, np.ndarray) else list(step)
        return self.division.split(entries, self.rank)


def lengths_of(dataset: Any) -> list[int]:
    """Tokens of every record: ``dataset.lengths`` where there is such, else each record is asked for its
    ``length``."""
    known = getattr(dataset, "lengths", None)
    if known is not None:
        return [int(length) for length in (known() if callable(known) else known)]
    return [int(dataset[index].length) for index in range(len(dataset))]
