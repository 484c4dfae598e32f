"""Next-token prediction: the cross-entropy of each labelled token given those before it.

``−log p(x_t | x_<t)``, summed over labelled tokens t and weighted per token. Logits are computed only where a
label needs them. Optional: label smoothing (Szegedy et al. 2016), and the z-loss of PaLM (Chowdhery et al.
2022, section 5: ``z · log² Z`` keeps the softmax normaliser near one).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vitrail.objectives.forward import Needs, Seen
from vitrail.objectives.head_states import HeadStates
from vitrail.objectives.labelled import learnt_tokens, token_weights
from vitrail.objectives.objective import Batch, Loss, Objective


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

    takes_packed = True

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()
        self.terms = ("next_token", "z_loss") if self.config.z_loss else ("next_token",)

    def count(self, batch: Batch) -> int:
        """Labelled tokens after the shift (the first token of a row is predicted by nothing)."""
        return int(learnt_tokens(batch).sum())

    def needs(self, batch: Batch) -> Needs:
        """Logits in front of the labelled tokens."""
        return Needs(logits=F.pad(learnt_tokens(batch), (0, 1)), in_chunks=True)

    def read(self, seen: Seen, batch: Batch, noted: Any) -> Loss:
        """Sums over the labelled tokens of the batch; zero, with a gradient of zeros, where there are
        none."""
        learnt, labels = learnt_tokens(batch), batch["labels"][:, 1:]
        at, targets = F.pad(learnt, (0, 1)), labels[learnt]
        weights = token_weights(batch)
        weights = None if weights is None else weights[:, 1:][learnt].float()
        if weights is not None and bool((weights == 1).all()):
            weights = None
        head = seen.head(at)
        sums = (
            self._whole(seen.logits(at), targets, weights)
            if head is None
            else self._chunked(head, targets, weights)
        )
        return Loss(
            sums,
            counts={term: len(targets) for term in sums},
            weights={"z_loss": self.config.z_loss} if self.config.z_loss else {},
        )

    def _whole(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        logits, smoothing = logits.float(), self.config.label_smoothing
        losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        sums = {"next_token": _weighted_sum(losses, weights)}
        if self.config.z_loss:
            sums["z_loss"] = _weighted_sum(torch.logsumexp(logits, dim=-1).square(), weights)
        return sums

    def _chunked(self, head: HeadStates, targets: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        smoothing = self.config.label_smoothing
        if not self.config.z_loss:
            return {"next_token": head.loss(targets, weights, smoothing)}
        losses, log_z = head.losses(targets, smoothing)
        return {
            "next_token": _weighted_sum(losses, weights),
            "z_loss": _weighted_sum(log_z.square(), weights),
        }


def _weighted_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.sum() if weights is None else (losses * weights).sum()
