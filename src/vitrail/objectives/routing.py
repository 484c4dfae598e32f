"""Next-token prediction of a model with routed layers, with the loss of its routers.

γ-MoD (Luo et al. 2024, arXiv 2410.13859): ``L = L_LM + c · Σ_layers CE(router, kept)``. Each layer's cross-entropy is
that of the router's two logits on all tokens, target 1 for those that the layer kept and 0 for those that skipped,
averaged over tokens. The LM loss alone reaches the router, too, through the FFN that its probability scales.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from pydantic import Field

from vitrail.models.surgery.routing import Pass, recorded
from vitrail.objectives.forward import Seen
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Batch, Loss


class Routed(NextToken):
    """Next token, plus ``coefficient`` times the routers' loss. Terms: ``next_token`` and ``routing``."""

    class Config(NextToken.Config):
        """As next token's; ``coefficient``: of the routers' loss."""

        coefficient: float = Field(default=0.01, ge=0)

    config: Config
    takes_packed = False  # routed layers keep a share of a row's tokens, whichever record they are of

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config if config is not None else self.Config())
        self.terms = (*self.terms, "routing")

    def counts(self, batch: Batch) -> dict[str, int]:
        """Labelled tokens, and for the routers every token that is there."""
        return {**super().counts(batch), "routing": _present(batch)}

    def during(self, batch: Batch) -> AbstractContextManager[list[Pass]]:
        """What the routers decide is recorded."""
        return recorded(batch.get("layout"))

    def read(self, seen: Seen, batch: Batch, noted: list[Pass]) -> Loss:
        """Both sums. ValueError for a model without routed layers."""
        loss, passes = super().read(seen, batch, None), noted
        if not passes:
            raise ValueError(
                "the objective 'routed' needs routed layers; do the surgery gamma_mod, or use next_token"
            )
        return Loss(
            {**loss.sums, "routing": passes[-1].loss()},
            {**loss.counts, "routing": _present(batch)},
            {**loss.weights, "routing": self.config.coefficient},
        )


def _present(batch: Batch) -> int:
    mask = batch.get("attention_mask")
    return int(mask.sum()) if mask is not None else batch["labels"].numel()
