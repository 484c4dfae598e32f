"""Records on their way into batches: numbered, so that a batch can say what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from vitrail.data.ahead import ahead

RECORDS = "_records"
"""The entry of a batch that names its records; it is never passed to the model."""


class Numbered(torch.utils.data.Dataset):
    """Records with their numbers."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        """A record with its number; for a tuple of numbers, as packed rows are, a list of such pairs."""
        if isinstance(index, tuple):
            return [(number, self.records[number]) for number in index]
        return index, self.records[index]


class NamingCollator:
    """A collator over numbered records, or rows of them; the batch lists their ids, or numbers where they have none."""

    def __init__(self, collator: Callable[[Sequence[Any]], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, numbered: Sequence[Any]) -> dict[str, Any]:
        """The collator's batch and :data:`RECORDS`."""
        rows = [entry if isinstance(entry, list) else [entry] for entry in numbered]
        names = [getattr(record, "id", None) or f"#{index}" for row in rows for index, record in row]
        packed = bool(numbered) and isinstance(numbered[0], list)
        records = [[record for _, record in row] for row in rows]
        return {**self.collator(records if packed else [row[0] for row in records]), RECORDS: names}


class AheadLoader:
    """Micro-batches that threads make ready, at most ``held`` of them ahead, in the order of ``batches``.

    ``begun`` says how many of them a stage that goes on has behind it: their records are not read.
    """

    def __init__(
        self,
        dataset: Numbered,
        collate: Callable[[Sequence[Any]], dict[str, Any]],
        batches: Any,
        held: int,
        begun: Callable[[], int] = lambda: 0,
    ) -> None:
        self.dataset, self.collate, self.batches = dataset, collate, batches
        self.held, self.begun = held, begun

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        left: Iterable[Any] = islice(self.batches, self.begun(), None)
        return ahead(left, self._batch, held=self.held)

    def _batch(self, numbers: Sequence[Any]) -> dict[str, Any]:
        return self.collate([self.dataset[number] for number in numbers])
