"""Contrast of pictures and texts: a picture is nearer to its own text than to those of others, and the reverse.

For n pairs with unit embeddings x_i (pictures) and y_j (texts), scale exp(s) and bias b of the model:

- ``infonce``, CLIP (Radford et al., arXiv 2103.00020), after InfoNCE (van den Oord et al., arXiv 1807.03748):
  ``z_ij = exp(s) x_i·y_j``, ``L = ½ Σ_i [−log softmax_j(z_ij)_i − log softmax_j(z_ji)_i]``
- ``sigmoid``, SigLIP (Zhai et al., arXiv 2303.15343): ``z_ij = exp(s) x_i·y_j + b``,
  ``L = −Σ_ij log σ(±z_ij)``, + for i = j.

Both are sums over pairs; the mean over n is what the papers minimise. **They do not decompose**: a pair's negatives are
the other pairs of its batch, so that a large batch is not the mean of small ones, and accumulation does not stand for a
larger batch. Over several processes embeddings are gathered, gradients included, so the negatives are those of all
processes, and the averaged gradient is exactly that of one process with the whole batch.

Deviation: in a batch of a small world the same caption, or the same picture, stands twice. With ``duplicates="mask"``
such a pair is no negative of its double (it is left out of the denominator, or of the sum); ``"keep"`` is the papers'.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.logits import unwrapped
from vitrail.models.pairs import IMAGE_KEY, TEXT_KEY
from vitrail.objectives.objective import Batch, Loss, Objective


class Contrastive(Objective):
    """See the module. For every model with CLIP's outputs: ours, CLIP, SigLIP. The model's own temperature is used;
    it trains where the stage's ``trains`` names ``temperature``.
    """

    class Config(BaseModel):
        """``loss``; ``duplicates``: whether equal texts or pictures of a batch are negatives; ``max_scale``: exp(s) is
        held below it (CLIP's 100).
        """

        model_config = ConfigDict(frozen=True, extra="forbid")
        loss: Literal["infonce", "sigmoid"] = "infonce"
        duplicates: Literal["mask", "keep"] = "mask"
        max_scale: float = Field(default=100.0, gt=1)

    terms = ("contrastive",)
    decomposes = False
    needs_language_model = False

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()

    def count(self, batch: Batch) -> int:
        """Pairs of the batch (of this process)."""
        return len(batch["input_ids"])

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """The sum over this process's pairs. ValueError for a batch without negatives, without keys where duplicates
        are masked, for a model without a bias where the sigmoid loss needs one.
        """
        inner: Any = unwrapped(model)
        inputs = {name: value for name, value in batch.items() if name not in (IMAGE_KEY, TEXT_KEY)}
        output = model(**inputs)
        x, y = output.image_embeds.float(), output.text_embeds.float()
        if x.shape != y.shape:
            raise ValueError(f"{len(x)} pictures and {len(y)} texts are no pairs; a pair has one of each")
        all_x, all_y = gathered(x), gathered(y)
        if len(all_x) < 2:
            raise ValueError("a contrast needs other pairs, and the batch holds one; raise batch_size")
        scale = inner.logit_scale.exp().clamp(max=self.config.max_scale)
        own = torch.arange(len(x), device=x.device) + _rank() * len(x)
        same = self._same(batch, own, len(all_x))
        if self.config.loss == "infonce":
            loss = infonce(x @ all_y.T * scale, own, same) + infonce(y @ all_x.T * scale, own, same)
            return Loss({"contrastive": loss / 2}, {"contrastive": len(x)})
        bias = getattr(inner, "logit_bias", None)
        if bias is None:
            raise ValueError(
                "loss 'sigmoid' needs the model's logit_bias, and this one has none; build it with "
                "logit_bias_init_value: -10, or use loss 'infonce'"
            )
        return Loss({"contrastive": sigmoid(x @ all_y.T * scale + bias, own, same)}, {"contrastive": len(x)})

    def _same(self, batch: Batch, own: Tensor, count: int) -> Bool[Tensor, "batch all"] | None:
        """Which pairs of all share a text or a picture with each of ours."""
        if self.config.duplicates == "keep":
            return None
        missing = [name for name in (IMAGE_KEY, TEXT_KEY) if name not in batch]
        if missing:
            raise ValueError(
                f"duplicates: the batch has no {missing[0]!r} to tell equal pairs by; feed it through "
                "vitrail.models.pairs.PairCollator, or set duplicates to 'keep'"
            )
        keys = torch.stack([batch[IMAGE_KEY], batch[TEXT_KEY]], dim=-1)
        others = gathered(keys)
        return (keys[:, None] == others[None]).any(-1)


def infonce(
    logits: Float[Tensor, "batch all"],
    own: Int[Tensor, "batch"],
    same: Bool[Tensor, "batch all"] | None = None,
) -> Float[Tensor, ""]:
    """``−Σ log softmax`` at each row's ``own`` column; other columns that are the ``same`` are left out."""
    if same is not None:
        logits = logits.masked_fill(_others(same, own), -torch.inf)
    return F.cross_entropy(logits, own, reduction="sum")


def sigmoid(
    logits: Float[Tensor, "batch all"],
    own: Int[Tensor, "batch"],
    same: Bool[Tensor, "batch all"] | None = None,
) -> Float[Tensor, ""]:
    """``−Σ log σ(±z)``, + at each row's ``own`` column; other columns that are the ``same`` are left out."""
    is_own = F.one_hot(own, logits.shape[1]).bool()
    losses = -F.logsigmoid(torch.where(is_own, logits, -logits))
    return losses.sum() if same is None else losses.masked_fill(_others(same, own), 0.0).sum()


def _others(same: Tensor, own: Tensor) -> Tensor:
    return same & ~F.one_hot(own, same.shape[1]).bool()


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, in their order; gradients flow back to where a row came from."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    found: Tensor = _Gather.apply(rows)
    return found


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """All-gather whose backward adds up what every process found about a row."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        begin = dist.get_rank() * context.rows
        return summed[begin : begin + context.rows]
