"""What each optimiser step takes from a mixture, as records or as packed rows.

A step has its records in the mixture's shares, so unlike elsewhere they are not sorted by length over several steps,
but within one. The steps follow from the seed and the mixture; a mixture that follows losses is drawn in rounds, whose
shares are known when the round begins (:mod:`vitrail.training.following`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vitrail.data.mixtures.drawing import Draws, permutation
from vitrail.data.mixtures.mixing import Mixing
from vitrail.training.packing import Packing, Row, check, first_fit

EPOCH = 1 << 31  # tells the shuffling of epochs from that of sources
ROWS = (1 << 31) + 1


def mixed_steps(mixing: Mixing, size: int, seed: int, by_length: bool = True) -> Iterator[np.ndarray]:
    """Endless: the ``size`` records of each step, longest last (``by_length``)."""
    lengths = np.asarray(mixing.lengths) if by_length else None
    for part in _parts(mixing, size, seed):
        yield in_order(part, lengths)


def in_order(records: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """The records of a step, by length where there are lengths."""
    return records if lengths is None else records[np.argsort(lengths[records], kind="stable")]


def mixed_rows(mixing: Mixing, size: int, seed: int, packing: Packing) -> Iterator[list[Row]]:
    """Endless: the ``size`` packed rows of each step. ValueError for records longer than a row."""
    check(mixing.lengths, packing)
    lengths = np.asarray(mixing.lengths)
    left: list[Row] = []
    for number, window in enumerate(_parts(mixing, packing.window, seed)):
        rows = [tuple(window[row].tolist()) for row in first_fit(lengths[window].tolist(), packing.length)]
        left += [rows[index] for index in permutation(len(rows), seed, ROWS, number)]
        while len(left) >= size:
            yield left[:size]
            left = left[size:]


def _parts(mixing: Mixing, size: int, seed: int) -> Iterator[np.ndarray]:
    """Endless: the next ``size`` records."""
    draws = mixing.draws(seed)
    if mixing.rule.redraws:
        while True:
            yield draws.running(size, mixing.shares)
    first = _epoch(mixing, draws)
    left = np.empty(0, dtype=np.int64)
    for epoch in itertools.count():
        left = np.concatenate([left, first[permutation(len(first), seed, EPOCH, epoch)]])
        while len(left) >= size:
            yield left[:size]
            left = left[size:]


def _epoch(mixing: Mixing, draws: Draws) -> np.ndarray:
    """The records of the one epoch that a mixture has which does not read on."""
    if mixing.unit == "tokens":
        return np.array(draws.running_tokens(mixing.epoch_size, mixing.shares), dtype=np.int64)
    return draws.running(int(mixing.epoch_size), mixing.shares)


def round_steps(
    draws: Draws, shares: np.ndarray, steps: int, size: int, lengths: Sequence[int] | None
) -> list[np.ndarray]:
    """The records of each of the ``steps`` of a round, drawn by the floor rule over the whole round."""
    known = None if lengths is None else np.asarray(lengths)
    records = draws.round(steps * size, shares)
    return [in_order(part, known) for part in records.reshape(steps, size)]


def mixing_of(dataset: Any) -> Mixing | None:
    """A dataset's mixture, where it is one."""
    found = getattr(dataset, "mixing", None)
    return found if isinstance(found, Mixing) else None
