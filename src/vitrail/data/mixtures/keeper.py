"""Keeping the proportions of an earlier mixture while its web part becomes a new domain.

"Efficient Continual Pre-training by Mitigating the Stability Gap" (arXiv 2406.14833), strategies I and III. A budget
is spent on several epochs of a moderate subset; each epoch has the sources of the pre-training mixture in their
proportions, counted in tokens, but what came from the web comes from the domain. ``dynamic`` (the paper's default)
reads other domain documents in every epoch; ``fixed`` draws once and shuffles.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from vitrail.data.mixtures.drawing import Pool, permutation, shares
from vitrail.data.mixtures.rule import MixtureConfig, Rule

Mode = Literal["fixed", "dynamic"]

LLAMA = {
    "commoncrawl": 0.67,
    "c4": 0.15,
    "github": 0.045,
    "wikipedia": 0.045,
    "books": 0.045,
    "arxiv": 0.025,
    "stackexchange": 0.02,
}
"""The pre-training proportions that the paper keeps (Touvron et al. 2023, table 1)."""


@dataclass(frozen=True)
class EpochPlan:
    """``epochs`` over a subset of ``subset_tokens``, within ``budget_tokens``; ``corpus_tokens`` bounds the subset.

    ValueError where they do not fit.
    """

    budget_tokens: int
    subset_tokens: int
    epochs: int
    corpus_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; give 1 or more")
        if self.subset_tokens < 1:
            raise ValueError(f"subset_tokens is {self.subset_tokens}; give 1 or more")
        if self.corpus_tokens is not None and self.subset_tokens > self.corpus_tokens:
            raise ValueError(
                f"subset_tokens={self.subset_tokens:,} is more than the corpus has, {self.corpus_tokens:,}; take less"
            )
        if self.total_tokens > self.budget_tokens:
            raise ValueError(
                f"{self.epochs} epochs of {self.subset_tokens:,} tokens are {self.total_tokens:,}, more than "
                f"budget_tokens={self.budget_tokens:,}; take a smaller subset or fewer epochs"
            )

    @property
    def total_tokens(self) -> int:
        """Tokens that are trained on."""
        return self.subset_tokens * self.epochs

    def steps(self, tokens_a_step: int) -> int:
        """Optimiser steps: the total within one batch."""
        return max(1, math.ceil(self.total_tokens / tokens_a_step))


class MixtureKeeper:
    """Epochs of documents in exact proportions of tokens.

    ``proportions`` sum to one. ``lengths``: the tokens of each document, by source, for every source that is not among
    ``replace``; ``domain`` those of the pool that takes the place of ``replace``. ValueError for proportions that do
    not sum to one, a declared share without a source, and nothing to replace.
    """

    def __init__(
        self,
        proportions: Mapping[str, float],
        lengths: Mapping[str, Sequence[int]],
        *,
        replace: Sequence[str],
        domain: Sequence[int],
        mode: Mode = "dynamic",
        seed: int = 0,
        domain_name: str = "domain",
    ) -> None:
        if not math.isclose(sum(proportions.values()), 1.0, abs_tol=1e-6):
            raise ValueError(f"proportions sum to {sum(proportions.values()):g}; they must sum to 1")
        shares(list(proportions.values()))
        unknown = [name for name in replace if name not in proportions]
        if unknown or not replace:
            what = f"names {unknown[0]!r}, which has no proportion" if unknown else "is empty"
            raise ValueError(f"replace {what}; give sources among {', '.join(proportions)}")
        kept = {name: share for name, share in proportions.items() if name not in replace}
        missing = [name for name in kept if not len(lengths.get(name, ()))]
        if missing or not len(domain):
            raise ValueError(
                f"{missing[0] if missing else domain_name!r} has a share, but no documents; give some"
            )
        self.mode, self.seed = mode, seed
        self.shares = {domain_name: sum(proportions[name] for name in replace), **kept}
        self.lengths = {domain_name: np.asarray(domain), **{name: np.asarray(lengths[name]) for name in kept}}
        self.domain_name = domain_name
        self._pools = {
            name: Pool(len(known), seed, number) for number, (name, known) in enumerate(self.lengths.items())
        }
        self._drawn: list[list[tuple[str, int]]] = []

    def epoch(self, number: int, tokens: int) -> list[tuple[str, int]]:
        """The documents of an epoch of about ``tokens``, shuffled: (source, number in it).

        Each source's tokens are its share, or up to one document more. Epochs follow from the seed, whatever was asked
        before.
        """
        first = 0 if self.mode == "fixed" else number
        while len(self._drawn) <= first:
            self._drawn.append(self._draw(tokens))
        documents = self._drawn[first]
        return [documents[index] for index in permutation(len(documents), self.seed, 1 << 30, number)]

    def _draw(self, tokens: int) -> list[tuple[str, int]]:
        found = []
        for name, share in self.shares.items():
            wanted, known = share * tokens, self.lengths[name]
            if (
                name == self.domain_name
                and self.mode == "dynamic"
                and known.sum() < wanted
                and not self._drawn
            ):
                warnings.warn(
                    f"the pool {name!r} has {int(known.sum()):,} tokens, fewer than the {int(wanted):,} of an epoch: "
                    "its documents repeat within one",
                    stacklevel=3,
                )
            seen = 0
            while seen < wanted:
                index = int(self._pools[name].take(1)[0])
                found.append((name, index))
                seen += int(known[index])
        return found

    def tokens(self, documents: Sequence[tuple[str, int]]) -> dict[str, int]:
        """The tokens of each source among ``documents``."""
        found = dict.fromkeys(self.shares, 0)
        for name, index in documents:
            found[name] += int(self.lengths[name][index])
        return found


class Kept(Rule):
    """The keeper as a mixture's rule: ``rule: {name: kept, replace: [commoncrawl, c4], by: medical}``.

    The mixture's ``sources`` are the proportions of the earlier mixture; those named in ``replace`` need no data, and
    their shares go to ``by``, another of the sources (whose own share may be 0).
    """

    class Config(MixtureConfig):
        """``replace``: sources whose share goes to ``by``. ``mode``: whether epochs after the first read on (dynamic),
        or shuffle what the first one read (fixed).
        """

        replace: tuple[str, ...] = Field(min_length=1)
        by: str
        mode: Mode = "dynamic"

        @model_validator(mode="after")
        def _another(self) -> Kept.Config:
            if self.by in self.replace:
                raise ValueError(f"by={self.by!r} is among the sources that are replaced; name another")
            return self

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.redraws = self.config.mode == "dynamic"

    def check(self, names: list[str], weights: list[float] | None) -> None:
        """ValueError unless all that are named are sources with shares that sum to one."""
        unknown = [name for name in (*self.config.replace, self.config.by) if name not in names]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of the mixture's sources, {', '.join(names)}")
        if weights is None or not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
            given = "none are given" if weights is None else f"they sum to {sum(weights):g}"
            raise ValueError(
                f"the proportions to keep must sum to 1, and {given}; give each source its share"
            )

    def unused(self, names: list[str]) -> list[str]:
        """What is replaced."""
        return [name for name in names if name in self.config.replace]

    def shares(self, names: list[str], weights: list[float]) -> np.ndarray:
        """The proportions, those of ``replace`` given to ``by``."""
        found = np.array(weights, dtype=np.float64)
        for name in self.unused(names):
            found[names.index(self.config.by)] += found[names.index(name)]
            found[names.index(name)] = 0.0
        return shares(found)
