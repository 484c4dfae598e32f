"""How likely a model finds a whole answer: the sum of its tokens' log-probabilities.

``log π(y | x) = Σ_t log π(y_t | x, y_<t)`` over learnt tokens (labels shifted by one, −100 left out), without a
division by length; the mean and each token's share beside it. It equals itself whatever the batch and the padding side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitrail.inference.inputs import evaluating, takes_use_cache
from vitrail.inference.inputs import model_inputs as moved
from vitrail.models.logits import logits_at
from vitrail.models.preferences import REFERENCE, encode_preference

if TYPE_CHECKING:
    from pathlib import Path

    from vitrail.data.records import Chat
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class SequenceLogps:
    """Of each row: ``sum`` and ``mean`` over its ``count`` learnt tokens (nats), and ``per_token`` in order."""

    sum: Float[Tensor, "batch"]
    mean: Float[Tensor, "batch"]
    count: Int[Tensor, "batch"]
    per_token: tuple[Tensor, ...]


def answer_tokens(batch: Mapping[str, Any]) -> Bool[Tensor, "batch after_first"]:
    """``(batch, tokens − 1)``: which tokens from the second on belong to an answer."""
    learnt: Tensor = batch["labels"][:, 1:] != -100
    return learnt


def row_sums(
    per_token: Float[Tensor, "kept"], learnt: Bool[Tensor, "batch after_first"]
) -> Float[Tensor, "batch"]:
    """The sum of each row's tokens; the tokens come row by row."""
    rows = learnt.nonzero()[:, 0]
    return per_token.new_zeros(len(learnt)).index_add(0, rows, per_token)


def sequence_logp(model: nn.Module, batch: Mapping[str, Any]) -> SequenceLogps:
    """Log-probabilities of the learnt tokens of each row; differentiable where the caller's mode is.

    ValueError for a row without a learnt token, or for values that are not numbers.
    """
    learnt = answer_tokens(batch)
    counts = learnt.sum(-1)
    if not bool((counts > 0).all()):
        empty = int((counts == 0).nonzero()[0])
        raise ValueError(f"row {empty} of the batch has no learnt token; give it an answer")
    inputs = {
        name: value for name, value in batch.items() if name != "labels" and not name.startswith("teacher.")
    }
    if takes_use_cache(model):
        inputs["use_cache"] = False
    keep = F.pad(learnt, (0, 1)).to(next(model.parameters()).device)
    logits = logits_at(model, keep, **moved(model, inputs)).logits.float()
    targets = batch["labels"][:, 1:][learnt].to(logits.device)
    per_token = logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)
    sums = row_sums(per_token, learnt.to(logits.device))
    if not bool(torch.isfinite(sums).all()):
        raise ValueError(
            "the model gives log-probabilities that are not finite; look at its weights and dtype"
        )
    counts = counts.to(sums.device)
    return SequenceLogps(sums, sums / counts, counts, per_token.split(counts.tolist()))


def answer_logps(bundle: Bundle, rows: Sequence[Any], *, batch_size: int = 8) -> list[tuple[float, int]]:
    """``(sum, tokens)`` of each encoded record's answer, without gradients, in the order given."""
    found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: (-rows[index].length, index))
    collator = bundle.collator("right")
    with evaluating(bundle.model):
        for start in range(0, len(order), batch_size):
            group = order[start : start + batch_size]
            logps = sequence_logp(bundle.model, collator([rows[index] for index in group]))
            for index, total, count in zip(group, logps.sum.tolist(), logps.count.tolist(), strict=True):
                found[index] = (total, count)
    return found


def precompute_reference(
    bundle: Bundle, chats: Iterable[Chat], *, root: Path | None = None, batch_size: int = 8
) -> list[Chat]:
    """The preferences with ``meta.reference_logps``: what ``bundle`` gives their answers now, stored with them.

    A stage with ``{name: dpo, stored: true}`` then needs no second model in memory. ValueError names the record that is
    no preference.
    """
    chats = list(chats)
    encoded = []
    for number, chat in enumerate(chats):
        try:
            encoded.append(encode_preference(bundle.encoder, chat, root=root))
        except ValueError as error:
            raise ValueError(f"preference {number} ({chat.id!r}): {error}") from None
    logps = answer_logps(bundle, [row for one in encoded for row in one.both], batch_size=batch_size)
    return [
        chat.model_copy(update={"meta": {**chat.meta, REFERENCE: [logps[2 * n][0], logps[2 * n + 1][0]]}})
        for n, chat in enumerate(chats)
    ]


__all__ = [
    "SequenceLogps",
    "answer_logps",
    "answer_tokens",
    "precompute_reference",
    "row_sums",
    "sequence_logp",
]
