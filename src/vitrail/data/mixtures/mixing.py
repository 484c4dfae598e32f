"""What a stage that trains on a mixture needs to know: its sources' sizes, its rule, and how an epoch is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.mixtures.drawing import Draws, Unit
from vitrail.data.mixtures.rule import Rule, Sampler
from vitrail.data.mixtures.tree import Node


@dataclass(frozen=True)
class Mixing:
    """A mixture over leaves of ``counts`` records, whose tokens are ``lengths`` (all leaves' one after another).

    ``tree``: which leaves, in which shares. ``names`` and ``weights`` are the outermost sources as they were given, for
    the rule. ``size``: of an epoch, in ``unit`` (default: everything once).
    """

    tree: Node
    counts: tuple[int, ...]
    lengths: Sequence[int]
    rule: Rule
    names: tuple[str, ...]
    weights: tuple[float, ...]
    unit: Unit = "records"
    size: int | None = None

    @property
    def shares(self) -> np.ndarray:
        """``(leaves,)``: the shares of the leaves (of the first round, where they change)."""
        return self.tree.leaf_shares()

    def shares_with(self, outermost: np.ndarray) -> np.ndarray:
        """The shares of the leaves with others for the outermost sources."""
        return self.tree.leaf_shares(outermost)

    def draws(self, seed: int) -> Draws:
        """Draws from the beginning."""
        return Draws(self.counts, seed, self.unit, self.lengths if self.unit == "tokens" else None)

    def sampler(self) -> Sampler:
        """What changes the outermost shares, in its first round."""
        return self.rule.sampler(list(self.names), list(self.weights))

    @property
    def epoch_size(self) -> float:
        """In ``unit``."""
        return self.size or (sum(self.counts) if self.unit == "records" else float(np.sum(self.lengths)))

    @property
    def records_an_epoch(self) -> int:
        """Records of an epoch; where it is counted in tokens, about how many."""
        if self.unit == "records":
            return int(self.epoch_size)
        ends = np.cumsum(self.counts)
        means = [np.mean(part) for part in np.split(np.asarray(self.lengths, dtype=np.float64), ends[:-1])]
        return max(1, round(float(sum(self.epoch_size * self.shares / np.array(means)))))

    def text(self) -> str:
        """The tree with the size of each leaf."""
        parts = np.split(np.asarray(self.lengths), np.cumsum(self.counts)[:-1])
        sizes = {
            leaf: f"{count:,} records, {int(np.sum(part)):,} tokens"
            for leaf, count, part in zip(self.tree.leaves(), self.counts, parts, strict=True)
        }
        return self.tree.text(sizes)
