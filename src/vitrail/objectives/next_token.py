"""Next-token prediction: the cross-entropy of each labelled token given those before it.

``−log p(x_t | x_<t)``, summed over labelled tokens t and weighted per token. Logits are computed only where a
label needs them. Optional: label smoothing (Szegedy et al. 2016), and the z-loss of PaLM (Chowdhery et al.
2022, section 5: ``z · log² Z`` keeps the softmax normaliser near one).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.logits import logits_at
from vitrail.objectives.objective import Batch, Loss, Objective, model_inputs


class NextToken(Objective):
    """Cross-entropy at labelled tokens.

    Weights of tokens come from ``batch["loss_weights"]`` or the layout (1 where neither is there). A weight
    multiplies its token's loss; the mean is over labelled tokens of non-zero weight. So a turn of weight 2
    counts twice.
    """

    class Config(BaseModel):
        """``label_smoothing``: share of probability spread over the vocabulary; ``z_loss``: its
        coefficient."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        label_smoothing: float = Field(default=0.0, ge=0, lt=1)
        z_loss: float = Field(default=0.0, ge=0)

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()
        self.terms = ("next_token", "z_loss") if self.config.z_loss else ("next_token",)

    def count(self, batch: Batch) -> int:
        """Labelled tokens after the shift (the first token of a row is predicted by nothing)."""
        return int(_learnt(batch).sum())

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """Sums over the labelled tokens of the batch; zero, with a gradient of zeros, where there are
        none."""
        learnt, labels = _learnt(batch), batch["labels"][:, 1:]
        keep = F.pad(learnt, (0, 1))
        output = logits_at(model, keep, **{"use_cache": False, **model_inputs(model, batch)})
        logits, targets = output.logits.float(), labels[learnt]
        losses = F.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.config.label_smoothing
        )
        weights = _weights(batch)
        weights = None if weights is None else weights[:, 1:][learnt].to(losses.dtype)
        sums = {"next_token": _weighted_sum(losses, weights)}
        if self.config.z_loss:
            sums["z_loss"] = _weighted_sum(torch.logsumexp(logits, dim=-1).square(), weights)
        return Loss(
            sums,
            counts={term: len(targets) for term in sums},
            weights={"z_loss": self.config.z_loss} if self.config.z_loss else {},
        )


def _weighted_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.sum() if weights is None else (losses * weights).sum()


def _weights(batch: Batch) -> Tensor | None:
    if batch.get("loss_weights") is not None:
        return batch["loss_weights"]
    layout = batch.get("layout")
    return None if layout is None else layout.weight


def _learnt(batch: Batch) -> Tensor:
    """``(batch, tokens − 1)``: which of the tokens from the second on are learnt."""
    learnt = batch["labels"][:, 1:] != -100
    weights = _weights(batch)
    return learnt if weights is None else learnt & (weights[:, 1:] != 0)
