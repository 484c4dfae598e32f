"""How an optimiser step is divided into micro-batches of processes, also when their number is another than at first.

A stage keeps the records of its steps for life. Going on with other processes, whole micro-batches change hands where
they come out even, so that each holds what it held; else each is cut into equal pieces, which gives the same sums where
the objective decomposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Division:
    """``accumulation`` times ``batch_size`` records on each of the ``begun`` processes that the stage began with; now
    there are ``world``, and each of those micro-batches is cut into ``pieces``.
    """

    batch_size: int
    accumulation: int
    begun: int
    world: int
    pieces: int = 1

    @classmethod
    def among(
        cls, world: int, *, batch_size: int, accumulation: int, begun: int, decomposes: bool = True
    ) -> Division:
        """The division among ``world`` processes. ValueError, with the numbers that are possible, where there is none.

        ``decomposes``: whether the objective allows that micro-batches are cut.
        """
        whole = accumulation * begun
        choices = range(1, batch_size + 1) if decomposes else (1,)
        for pieces in choices:
            if batch_size % pieces == 0 and whole * pieces % world == 0:
                return cls(batch_size, accumulation, begun, world, pieces)
        most = whole * batch_size if decomposes else whole
        fitting = [number for number in range(1, most + 1) if most % number == 0]
        why = (
            ""
            if decomposes
            else " (its objective compares the records of a micro-batch, so these are not cut)"
        )
        raise ValueError(
            f"the stage was begun with {begun} processes and takes {whole * batch_size} records a step, which {world} "
            f"processes cannot share evenly{why}; use {', '.join(map(str, fitting[:-1]))}{' or ' * (len(fitting) > 1)}"
            f"{fitting[-1]}, or remove the folder to start again"
        )

    @property
    def size(self) -> int:
        """Records (or rows) of an optimiser step on all processes."""
        return self.batch_size * self.accumulation * self.begun

    @property
    def micro_batches(self) -> int:
        """Of each process, in an optimiser step."""
        return self.accumulation * self.begun * self.pieces // self.world

    def split(self, entries: Sequence[Any], rank: int) -> list[list[Any]]:
        """The micro-batches of process ``rank`` in a step of ``entries``."""
        share = len(entries) // self.accumulation
        parts = [entries[begin : begin + share] for begin in range(0, len(entries), share)]
        whole = [part[first :: self.begun] for part in parts for first in range(self.begun)]
        cut = [list(one[first :: self.pieces]) for one in whole for first in range(self.pieces)]
        return cut[rank :: self.world]
