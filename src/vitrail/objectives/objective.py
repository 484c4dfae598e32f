"""The seam of objectives: sums with counts, always through ``model(**batch)``.

A mean over a micro-batch cannot be put together into the mean over a large batch; a sum and a count can. So
an objective returns sums, says beforehand how many units a batch holds, and the trainer divides once, by the
units of the whole optimiser step over all micro-batches and processes.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from vitrail.models.logits import unwrapped

Batch = Mapping[str, Any]
"""What a collator returns: arguments of the model, ``labels``, and ``layout``."""

_NOT_FOR_THE_MODEL = ("labels", "loss_weights")


@dataclass(frozen=True)
class Loss:
    """What an objective found in one micro-batch, one entry a term.

    ``sums``: scalars, differentiable where the term trains. ``counts``: how many units each sum runs over.
    ``weights``: the factor of a term in the total (default 1; a term of weight 0 is only logged).
    """

    sums: dict[str, Tensor]
    counts: dict[str, int | float]
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sums.keys() != self.counts.keys():
            raise ValueError(
                f"a loss needs a count for each sum: {sorted(self.sums)} and {sorted(self.counts)}"
            )
        stray = sorted(self.weights.keys() - self.sums.keys())
        if stray:
            raise ValueError(
                f"a loss has a weight for {stray[0]!r}, which is none of its terms {sorted(self.sums)}"
            )

    def weight(self, term: str) -> float:
        """The factor of ``term`` in the total."""
        return self.weights.get(term, 1.0)

    def total(self, counts: Mapping[str, int | float] | None = None, micro_batches: int = 1) -> Tensor:
        """The weighted total: each sum over its units.

        ``counts`` are the units of the whole optimiser step for terms that decompose; the others become the
        mean of this micro-batch over the number of ``micro_batches``. Without arguments: this batch alone.
        """
        total: Tensor | None = None
        for term, value in self.sums.items():
            if counts is not None and term in counts:
                mean = value / (counts[term] or 1)
            else:
                mean = value / (max(self.counts[term], 1) * micro_batches)
            weighted = mean if self.weight(term) == 1.0 else self.weight(term) * mean
            total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError("a loss without terms has no total")
        return total


class Objective(nn.Module):
    """What a stage minimises. It may own parameters (a temperature, a predictor), which then train too.

    Subclasses set ``terms`` and implement :meth:`count` and :meth:`forward`.
    """

    terms: tuple[str, ...] = ()
    """Names of the terms in :attr:`Loss.sums`."""
    decomposes: bool = True
    """Whether sums over micro-batches are those of the large batch; False for contrasts within a batch."""
    needs_language_model: bool = True
    """Whether the language model runs; cost estimates ask."""

    def count(self, batch: Batch) -> int:
        """Units of the main term in this batch (labelled tokens, pairs …), read off before the model runs."""
        raise NotImplementedError

    def counts(self, batch: Batch) -> dict[str, int]:
        """Units of each term that decomposes; terms that are not named are averaged over micro-batches."""
        return dict.fromkeys(self.terms, self.count(batch)) if self.decomposes else {}

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """Sums and counts of one micro-batch; the model is called, never its parts."""
        raise NotImplementedError


class Sum(Objective):
    """Several objectives at once, each with a weight; their terms are logged apart.

    Each part runs its own forward. ValueError if two parts name the same term.
    """

    def __init__(self, parts: Iterable[tuple[float, Objective]]) -> None:
        super().__init__()
        parts = list(parts)
        if not parts:
            raise ValueError("a sum of objectives needs at least one")
        self.weights = tuple(float(weight) for weight, _ in parts)
        self.parts = nn.ModuleList(part for _, part in parts)
        self.terms = tuple(term for _, part in parts for term in part.terms)
        twice = sorted({term for term in self.terms if self.terms.count(term) > 1})
        if twice:
            raise ValueError(f"two objectives of a sum name a term {twice[0]!r}; rename one")
        self.decomposes = all(part.decomposes for _, part in parts)
        self.needs_language_model = any(part.needs_language_model for _, part in parts)

    def count(self, batch: Batch) -> int:
        """The units of the first objective."""
        return self._parts[0].count(batch)

    def counts(self, batch: Batch) -> dict[str, int]:
        """The units of every term that decomposes."""
        return {term: units for part in self._parts for term, units in part.counts(batch).items()}

    @property
    def _parts(self) -> list[Objective]:
        return list(self.parts)  # type: ignore[arg-type]

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """The terms of all parts, each part's weight multiplied in."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, int | float] = {}
        weights: dict[str, float] = {}
        for weight, part in zip(self.weights, self._parts, strict=True):
            loss = part(model, batch)
            sums.update(loss.sums)
            counts.update(loss.counts)
            weights.update({term: weight * loss.weight(term) for term in loss.sums})
        return Loss(sums, counts, weights)


def model_inputs(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """The entries of ``batch`` that ``model`` takes: no labels (the objective reads them), ``layout`` where
    known."""
    dropped = _NOT_FOR_THE_MODEL if accepts(model, "layout") else (*_NOT_FOR_THE_MODEL, "layout")
    return {name: value for name, value in batch.items() if name not in dropped}


_ACCEPTED: weakref.WeakKeyDictionary[type, dict[str, bool]] = weakref.WeakKeyDictionary()


def accepts(model: nn.Module, argument: str) -> bool:
    """Whether the forward of the model inside wrappers names ``argument`` (``**kwargs`` do not count)."""
    kind = type(unwrapped(model))
    known = _ACCEPTED.setdefault(kind, {})
    if argument not in known:
        known[argument] = argument in inspect.signature(kind.forward).parameters
    return known[argument]
