"""Which tokens of a batch are learnt, and how much each counts."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

from vitrail.objectives.forward import Batch


def token_weights(batch: Batch) -> Tensor | None:
    """``(batch, tokens)``: ``loss_weights`` of the batch, or the layout's; None where neither is there."""
    if batch.get("loss_weights") is not None:
        weights: Tensor = batch["loss_weights"]
        return weights
    layout = batch.get("layout")
    return None if layout is None else layout.weight


def learnt_tokens(batch: Batch) -> Bool[Tensor, "batch after_first"]:
    """``(batch, tokens − 1)``: which of the tokens from the second on are learnt: those with a label and a weight."""
    learnt: Tensor = batch["labels"][:, 1:] != -100
    weights = token_weights(batch)
    return learnt if weights is None else learnt & (weights[:, 1:] != 0)
