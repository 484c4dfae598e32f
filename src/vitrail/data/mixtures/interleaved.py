"""A mixture as a source: a number of records of several sources, interleaved in their shares."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitrail.data.mixtures.drawing import Draws
from vitrail.data.records import Record
from vitrail.data.sources import RandomAccess, Source, concat, set_aside_of
from vitrail.storage.cache import key


class Interleaved(RandomAccess):
    """``n`` records of ``sources`` (called ``leaves``) in ``shares``, each next one from the source furthest behind.

    ``numbers`` are their places in the sources put one behind the other. A source with fewer records than its share is
    read again. Ids begin with the source's name, so that records of different sources never share one.
    """

    root: Path | None

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Sequence[float] | np.ndarray,
        n: int,
        seed: int,
        name: str,
        leaves: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self._whole = concat(*sources, name=name)
        self.root = self._whole.root
        self.set_aside = set_aside_of(self._whole)
        self._names = [source.name for source in sources] if leaves is None else list(leaves)
        self._ends = list(itertools.accumulate(len(source) for source in sources))
        p = np.asarray(shares, dtype=np.float64)
        self.numbers = Draws([len(source) for source in sources], seed).running(n, p)
        self.fingerprint = key("mixture", self._whole.fingerprint, p.tolist(), n, seed)

    def __len__(self) -> int:
        return len(self.numbers)

    def _record(self, index: int) -> Record:
        number = int(self.numbers[index])
        record = self._whole[number]
        if record.id is None:
            return record
        which = bisect.bisect_right(self._ends, number)
        return record.model_copy(update={"id": f"{self._names[which]}/{record.id}"})
