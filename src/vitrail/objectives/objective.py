"""The seam of objectives: sums with counts, always through ``model(**batch)``.

A mean over a micro-batch cannot be put together into the mean over a large batch; a sum and a count can. So
an objective returns sums, says beforehand how many units a batch holds, and the trainer divides once, by the
units of the whole optimiser step over all micro-batches and processes.

An objective that reads the batch as it is says what it :meth:`needs <Objective.needs>` and reads it off a call that it
may share with others; one that makes its own views of the batch overrides :meth:`forward <Objective.forward>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from vitrail.objectives.forward import Batch, Needs, Seen, accepts, look, model_inputs, united

if TYPE_CHECKING:
    from vitrail.objectives.teacher import Teacher

__all__ = ["Batch", "Loss", "Needs", "Objective", "Seen", "Sum", "accepts", "losses", "model_inputs"]


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

    Subclasses set ``terms`` and implement :meth:`count`, and either :meth:`needs` and :meth:`read`, or
    :meth:`forward`.
    """

    terms: tuple[str, ...] = ()
    """Names of the terms in :attr:`Loss.sums`."""
    decomposes: bool = True
    """Whether sums over micro-batches are those of the large batch; False for contrasts within a batch."""
    needs_language_model: bool = True
    """Whether the language model runs; cost estimates ask."""
    reads_pixels: bool = False
    """Whether it changes pictures, so that stored features of a frozen tower cannot stand for them."""
    takes_packed: bool = False
    """Whether several records may share a row (``batch["layout"].segment``): true where a batch is a set of tokens that
    are learnt, false where a row means a record."""

    @classmethod
    def check(cls, config: Any, stage: Any) -> None:
        """What is wrong with ``config`` in a stage, as a ValueError, while the recipe is read. ``stage`` is its
        :class:`~vitrail.training.stages.StageConfig`."""

    def count(self, batch: Batch) -> int:
        """Units of the main term in this batch (labelled tokens, pairs …), read off before the model runs."""
        raise NotImplementedError

    def counts(self, batch: Batch) -> dict[str, int]:
        """Units of each term that decomposes; terms that are not named are averaged over micro-batches."""
        return dict.fromkeys(self.terms, self.count(batch)) if self.decomposes else {}

    def at(self, step: int, steps: int) -> None:
        """Told before each optimiser step: its number from 1, and how many the stage has. What depends on the step
        follows from these alone, so that a resumed stage goes on as it would have."""

    def teachers(self) -> Sequence[Teacher]:
        """The frozen models that run beside the trained one."""
        return ()

    def needs(self, batch: Batch) -> Needs | None:
        """What is read of the model's call on this batch; None for an objective that calls the model itself."""
        return None

    def during(self, batch: Batch) -> AbstractContextManager[Any]:
        """What is open while the model runs; its value comes to :meth:`read` as ``noted``."""
        return nullcontext()

    def read(self, seen: Seen, batch: Batch, noted: Any) -> Loss:
        """Sums and counts of one micro-batch, from a call that gave what :meth:`needs` said."""
        raise NotImplementedError

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """Sums and counts of one micro-batch; the model is called, never its parts."""
        return losses([self], model, batch)[0]


def losses(objectives: Sequence[Objective], model: nn.Module, batch: Batch) -> list[Loss]:
    """The loss of each objective on one micro-batch; those that can share a call of the model share one."""
    wanted = [objective.needs(batch) for objective in objectives]
    shared = [needs for needs in wanted if needs is not None]
    noted: dict[int, Any] = {}
    seen: Seen | None = None
    if shared:
        with ExitStack() as open_now:
            for index, needs in enumerate(wanted):
                if needs is not None:
                    noted[index] = open_now.enter_context(objectives[index].during(batch))
            seen = look(model, batch, united(shared))
    return [
        objective(model, batch) if index not in noted else objective.read(seen, batch, noted[index])  # type: ignore[arg-type]
        for index, objective in enumerate(objectives)
    ]


class Sum(Objective):
    """Several objectives at once, each with a weight; their terms are logged apart.

    Parts that say what they need share one call of the model; the others run their own. ValueError for a negative
    weight, for weights that are all zero, or if two parts name the same term.
    """

    def __init__(self, parts: Iterable[tuple[float, Objective]]) -> None:
        super().__init__()
        parts = list(parts)
        if not parts:
            raise ValueError("a sum of objectives needs at least one")
        negative = next((weight for weight, _ in parts if not weight >= 0), None)
        if negative is not None:
            raise ValueError(f"an objective's weight is {negative}; give 0 or more")
        if not any(weight for weight, _ in parts):
            raise ValueError("every objective has weight 0, so nothing would train; give one a weight")
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)
        self.terms = tuple(term for _, part in parts for term in part.terms)
        twice = sorted({term for term in self.terms if self.terms.count(term) > 1})
        if twice:
            raise ValueError(f"two objectives of a sum name a term {twice[0]!r}; rename one")
        self.decomposes = all(part.decomposes for _, part in parts)
        self.needs_language_model = any(part.needs_language_model for _, part in parts)
        self.reads_pixels = any(part.reads_pixels for _, part in parts)
        self.takes_packed = all(part.takes_packed for _, part in parts)

    def count(self, batch: Batch) -> int:
        """The units of the first objective."""
        return self._parts[0].count(batch)

    def counts(self, batch: Batch) -> dict[str, int]:
        """The units of every term that decomposes."""
        return {term: units for part in self._parts for term, units in part.counts(batch).items()}

    def at(self, step: int, steps: int) -> None:
        """Passed on to every part."""
        for part in self._parts:
            part.at(step, steps)

    def teachers(self) -> Sequence[Teacher]:
        """Those of all parts."""
        return [teacher for part in self._parts for teacher in part.teachers()]

    @property
    def _parts(self) -> list[Objective]:
        return list(self.parts)  # type: ignore[arg-type]

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """The terms of all parts, each part's weight multiplied in."""
        sums: dict[str, Tensor] = {}
        counts: dict[str, int | float] = {}
        weights: dict[str, float] = {}
        for weight, loss in zip(self.weights, losses(self._parts, model, batch), strict=True):
            sums.update(loss.sums)
            counts.update(loss.counts)
            weights.update({term: weight * loss.weight(term) for term in loss.sums})
        return Loss(sums, counts, weights)
