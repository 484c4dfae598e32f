"""Sequences that are hard but still learnable, as an early model finds them: SALT_DS.

Rawat et al. (arXiv 2410.18779): with a model after few steps, a token's loss ``c_t = −log P(x_t | x_<t)`` counts where
x_t is among its ``k`` likeliest words (what is not is taken for noise), and a sequence's score is the median of the
losses that count. The highest scores fill the first phase's budget of tokens; the second phase takes the original
distribution. The model must be an early one: a trained one finds everything easy.

Whether tokens that do not count are dropped or set to zero is not known (``mode``; default: dropped), nor how few may
remain (``fewest``): a sequence with fewer has no score and is never chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from vitrail.models.bundle import Bundle

Reduce = Literal["median", "mean"]
Mode = Literal["drop", "zero"]


@dataclass(frozen=True)
class SequenceScorer:
    """Scores encoded records by how hard and how learnable ``bundle``'s model finds their learnt tokens.

    ``k``: the likeliest words among which a token must be; ``reduce``: of the losses that count; ``mode``: what becomes
    of the others; ``fewest``: tokens that must count. ``batch_size`` changes no score. ValueError for k or fewest below
    1.
    """

    bundle: Bundle
    k: int = 10
    reduce: Reduce = "median"
    mode: Mode = "drop"
    fewest: int = 1
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("k", "fewest", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")

    def __call__(
        self, records: Sequence[Any], progress: Callable[[int, int], None] | None = None
    ) -> Float[np.ndarray, "records"]:
        """A score for each record (:class:`~vitrail.models.encoding.Encoded`) in its order; NaN where it has none."""
        order = sorted(range(len(records)), key=lambda index: records[index].length)
        scores = np.full(len(records), np.nan)
        for begin in range(0, len(order), self.batch_size):
            chosen = order[begin : begin + self.batch_size]
            for index, tokens in zip(chosen, self._tokens([records[i] for i in chosen]), strict=True):
                scores[index] = self.score(*tokens)
            if progress is not None:
                progress(min(begin + self.batch_size, len(order)), len(order))
        return scores

    def score(self, losses: Float[np.ndarray, "tokens"], counts: np.ndarray) -> float:
        """The score of one sequence from its tokens' losses (nats) and whether each counts; NaN where it has none."""
        if int(counts.sum()) < self.fewest:
            return math.nan
        values = losses[counts] if self.mode == "drop" else np.where(counts, losses, 0.0)
        return float(np.median(values) if self.reduce == "median" else values.mean())

    def _tokens(self, records: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Losses of the learnt tokens of each record, and whether the token is among the k likeliest."""
        import torch

        from vitrail.inference.inputs import evaluating, model_inputs
        from vitrail.models.logits import logits_at, shifted

        model = self.bundle.model
        batch = self.bundle.collator()(records)
        keep, targets = shifted(batch["labels"])
        with evaluating(model), torch.no_grad():
            inputs = {"use_cache": False, **model_inputs(model, batch)}
            logits = logits_at(model, keep.to(self.bundle.device), **inputs).logits.float()
        own = logits.gather(1, targets.to(logits.device)[:, None])
        losses = (logits.logsumexp(-1) - own[:, 0]).double().cpu().numpy()
        counts = ((logits > own).sum(-1) < self.k).cpu().numpy()
        edges = np.cumsum(keep.sum(1).numpy())[:-1]
        return list(zip(np.split(losses, edges), np.split(counts, edges), strict=True))


def select_challenging(
    lengths: Sequence[int], scores: Sequence[float] | Float[np.ndarray, "records"], token_budget: int
) -> list[int]:
    """The numbers of the highest-scoring records whose tokens fit into ``token_budget``, in ascending order.

    Scores fall until the next record would not fit; equal scores are taken in their order. Any scorer's scores will do;
    records whose score is NaN are not chosen. ValueError for a budget that is not positive, above all tokens that have
    a score, or too small for the first record.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) != len(lengths):
        raise ValueError(
            f"{len(lengths)} lengths and {len(values)} scores; give one of each for every record"
        )
    scored = [index for index, value in enumerate(values) if not np.isnan(value)]
    pool = sum(lengths[index] for index in scored)
    if not 0 < token_budget <= pool:
        raise ValueError(
            f"token_budget is {token_budget:,}; give more than 0 and at most {pool:,}, the tokens of the "
            f"{len(scored):,} records that have a score"
        )
    chosen, spent = [], 0
    for index in sorted(scored, key=lambda index: -values[index]):
        if spent + lengths[index] > token_budget:
            break
        chosen.append(index)
        spent += lengths[index]
    if not chosen:
        raise ValueError(f"token_budget is {token_budget:,}, and the first record alone is longer; raise it")
    return sorted(chosen)
