"""What a step leaves behind: its row in ``metrics.jsonl``.

A row holds ``step``, ``loss``, ``terms``, ``learning_rate`` (and ``learning_rates`` where parts differ),
``grad_norm``, and counted from the stage's beginning ``samples``, ``tokens``, ``places`` (tokens and padding) and
``seconds``. Rows of a resumed stage equal those of one that was never killed, ``seconds`` aside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitrail.objectives.objective import Loss


@dataclass
class Counters:
    """What a stage has seen: optimiser steps, records, tokens, places (padding too), and seconds spent."""

    step: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    places: int = 0

    @classmethod
    def read(cls, path: Path) -> Counters:
        """From a checkpoint's ``progress.json``."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


class Tally:
    """Sums up the micro-batches of one optimiser step on one process.

    ``totals``: units of each term that decomposes, over the whole step; ``micro_batches``: how many there
    are.
    """

    def __init__(self, totals: Mapping[str, int] | None = None, micro_batches: int = 1) -> None:
        self.totals, self.micro_batches = dict(totals or {}), micro_batches
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, float] = {}
        self.records: list[str] = []
        self.tokens = 0
        self.places = 0

    def add(self, loss: Loss, batch: Mapping[str, Any], records: list[str]) -> None:
        """Count a micro-batch in."""
        for term, value in loss.sums.items():
            share = value.detach()
            if term not in self.totals:
                share = share / (max(loss.counts[term], 1) * self.micro_batches)
            self.sums[term] = self.sums[term] + share if term in self.sums else share
            self.weights[term] = loss.weight(term)
        self.records += records
        self.tokens += _tokens(batch)
        self.places += batch["input_ids"].numel() if "input_ids" in batch else 0

    def mean(self, term: str, summed: float, processes: int = 1) -> float:
        """The step's mean of a term whose sum over processes is ``summed``."""
        return summed / max(self.totals[term], 1) if term in self.totals else summed / processes

    def weighted(self, means: Mapping[str, float]) -> float:
        """The step's loss from the means of its terms."""
        return sum(self.weights[term] * mean for term, mean in means.items())


def _tokens(batch: Mapping[str, Any]) -> int:
    mask = batch.get("attention_mask")
    if mask is not None:
        return int(mask.sum())
    return int(batch["input_ids"].numel()) if "input_ids" in batch else 0
