"""RagLLaVA's noise-injected training: answer tokens count more the more their logit owes to the picture.

Chen et al. 2024, "MLLM Is a Strong Reranker" (arXiv 2407.21439). With the pixels x_0 as the model gets them,

    x_t = sqrt(ā_t) x_0 + sqrt(1 − ā_t) ε,   ε ~ N(0, 1),   β_s = sigmoid(linspace(−6, 6, 1000)) (0.005 − 1e-5) + 1e-5
    d_i = l_i[y_i] − l'_i[y_i]                 (logits with x_0 and, without a gradient, with x_t)
    w_i = AvgPool_3(clamp(d_i, 1, 5))          L = Σ w_i CE_i / (Σ w_i + 1e-6)

A token that does not depend on the picture keeps weight 1. The pool runs over the labelled tokens of one answer; at its
ends it has fewer elements. d takes raw logits, so a shift of one side's alone changes weights. ε follows from the
``seed``, the step and the batch's tokens. The normaliser is known only afterwards, so the loss does not decompose over
micro-batches; each is normalised by itself.
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from vitrail.objectives.forward import Batch, Needs, look
from vitrail.objectives.labelled import learnt_tokens, token_weights
from vitrail.objectives.objective import Loss, Objective

PIXELS = "pixel_values"
STEPS = 1000
_SMALL = 1e-6


def kept_share(steps: int = STEPS) -> Float[Tensor, "steps"]:
    """ā: the share of the picture's variance that is left at each step of diffusion."""
    beta = torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid() * (0.005 - 1e-5) + 1e-5
    return (1 - beta).cumprod(0)


def diffusion_noise(
    x: Any, t: int = 500, *, steps: int = STEPS, generator: torch.Generator | None = None
) -> Any:
    """``x`` (a tensor of floats, or a list of them for pictures of several sizes) at step ``t`` of forward diffusion.

    ValueError for a step outside 0 … ``steps`` − 1.
    """
    if not 0 <= t < steps:
        raise ValueError(f"noise step t is {t}; give one from 0 to {steps - 1}")
    if isinstance(x, (list, tuple)):
        return [diffusion_noise(one, t, steps=steps, generator=generator) for one in x]
    share = float(kept_share(steps)[t])
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x.device, x.dtype)
    return share**0.5 * x + (1 - share) ** 0.5 * drawn


def visual_weights(
    sensitivity: Float[Tensor, "batch tokens"],
    learnt: Bool[Tensor, "batch tokens"],
    low: float = 1.0,
    high: float = 5.0,
    pool: int = 3,
) -> Float[Tensor, "batch tokens"]:
    """w of each learnt token from its d, 0 elsewhere; no gradient flows."""
    here = learnt.float()
    bounded = sensitivity.detach().float().clamp(low, high) * here
    kernel = torch.ones(1, 1, pool, device=bounded.device)
    sums, counts = (
        F.conv1d(values.unsqueeze(1), kernel, padding=pool // 2).squeeze(1) for values in (bounded, here)
    )
    return sums / counts.clamp(min=1) * here


def noise_weighted_loss(
    logits: Float[Tensor, "batch tokens vocab"],
    noisy_logits: Float[Tensor, "batch tokens vocab"],
    labels: Tensor,
    low: float = 1.0,
    high: float = 5.0,
    pool: int = 3,
) -> Float[Tensor, ""]:
    """L of logits that predict ``labels`` (batch, tokens; −100: not learnt) at their own positions.

    ValueError where no label is learnt.
    """
    learnt = labels != -100
    if not bool(learnt.any()):
        raise ValueError("no label is learnt (all are -100), so the loss has no tokens; give an answer")
    targets = labels.clamp(min=0).unsqueeze(-1)
    apart = (logits.detach().gather(-1, targets) - noisy_logits.detach().gather(-1, targets)).squeeze(-1)
    weights = visual_weights(apart, learnt, low, high, pool)[learnt]
    losses = F.cross_entropy(logits[learnt].float(), labels[learnt], reduction="none")
    return (weights * losses).sum() / (weights.sum() + _SMALL)


class RagLLaVA(Objective):
    """See the module. Terms: ``ragllava``, and ``visual_weight``, the mean w, which is only logged."""

    class Config(BaseModel):
        """``step``: of diffusion, of 1,000; ``low``, ``high``: bounds of a token's weight; ``pool``: neighbours that
        share their weights, an odd number; ``seed``: of the noise.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")
        step: int = Field(default=500, ge=0, lt=STEPS)
        low: float = Field(default=1.0, gt=0)
        high: float = Field(default=5.0, gt=0)
        pool: int = Field(default=3, ge=1)
        seed: int = Field(default=0, ge=0)

        @model_validator(mode="after")
        def _ordered(self) -> RagLLaVA.Config:
            if self.high < self.low:
                raise ValueError(f"high is {self.high} and low {self.low}; give bounds in order")
            if self.pool % 2 == 0:
                raise ValueError(f"pool is {self.pool}; give an odd number")
            return self

    terms = ("ragllava", "visual_weight")
    decomposes = False
    reads_pixels = True

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()
        self._step = 0

    def at(self, step: int, steps: int) -> None:
        """Noise is drawn anew in each step."""
        self._step = step

    def count(self, batch: Batch) -> int:
        """Labelled tokens."""
        return int(learnt_tokens(batch).sum())

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """Both calls and the weighted mean. ValueError for a batch whose pictures are no pixels."""
        learnt, config = learnt_tokens(batch), self.config
        at = F.pad(learnt, (0, 1))
        logits = look(model, batch, Needs(at)).logits(at).float()
        targets = batch["labels"][:, 1:][learnt]
        own = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        apart = torch.zeros(learnt.shape, device=logits.device)
        noisy = self._noisy(batch)
        if noisy is not None and len(targets):
            with torch.no_grad():
                other = look(model, noisy, Needs(at)).logits(at).float()
            apart[learnt] = own.detach() - other.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        weights = visual_weights(apart, learnt, config.low, config.high, config.pool)[learnt]
        given = token_weights(batch)
        if given is not None:
            weights = weights * given[:, 1:][learnt].float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        total = (weights * losses).sum() / (weights.sum() + _SMALL)
        mean = weights.sum() / max(len(targets), 1)
        return Loss(
            {"ragllava": total, "visual_weight": mean},
            {"ragllava": 1, "visual_weight": 1},
            {"visual_weight": 0.0},
        )

    def _noisy(self, batch: Batch) -> dict[str, Any] | None:
        """The batch with noise in its pictures; None where it has none."""
        if batch.get(PIXELS) is not None:
            words = batch["input_ids"].cpu().contiguous().numpy().tobytes()
            seed = zlib.crc32(words, zlib.crc32(f"{self.config.seed} {self._step}".encode()))
            generator = torch.Generator().manual_seed(seed)
            return {
                **batch,
                PIXELS: diffusion_noise(batch[PIXELS], self.config.step, generator=generator),
            }
        stored = next((name for name in ("vision_features", "mm_encoder_outputs") if name in batch), None)
        if stored is not None:
            raise ValueError(
                f"the objective ragllava puts noise into pixels, and this batch has {stored} instead; feed pictures"
            )
        return None
