"""Records on their way into batches: numbered, so that a batch can say what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

RECORDS = "_records"
"""The entry of a batch that names its records; it is never passed to the model."""


class Numbered(torch.utils.data.Dataset):
    """Records with their numbers."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.records[index]


class NamingCollator:
    """A collator over numbered records; the batch lists their ids, or numbers where they have none."""

    def __init__(self, collator: Callable[[Sequence[Any]], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, numbered: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        """The collator's batch and :data:`RECORDS`."""
        names = [getattr(record, "id", None) or f"#{index}" for index, record in numbered]
        return {**self.collator([record for _, record in numbered]), RECORDS: names}
