"""What a teacher's soft labels cost and save: the bias and the variance of the mixed loss.

SALT's analysis (Rawat et al., arXiv 2410.18779) bounds the excess risk of training on ``(1 − ω) CE + ω KD`` by a term
that grows with the variance V_N(ω) of the loss over sequences and one that grows with ω times the mean total variation
between the teacher and the truth, ``TV = ½ Σ_v |P_teacher(v) − D(v)|``. Soft labels pay where the first falls faster
than the second rises, and that is in the easy regions. The bound's constants are not known; the two quantities are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Truth = Callable[[Tensor], Tensor]
"""Input ids ``(batch, tokens)`` → the generator's next-token distribution ``(batch, tokens, vocab)``."""


@dataclass(frozen=True)
class Probed:
    """``variance[ω]``: of the loss over sequences; ``bias``: the mean TV of teacher and truth, NaN where the truth is
    not known. ``buckets``: the same for each part of the data, easiest first by the teacher's own loss.
    """

    variance: dict[float, float]
    bias: float
    buckets: tuple[Probed, ...] = ()


def bias_variance_probe(
    student: Any,
    teacher: Any,
    batches: Sequence[Any],
    omegas: Sequence[float],
    *,
    temperature: float = 1.0,
    truth: Truth | None = None,
    buckets: int = 3,
) -> Probed:
    """Read both off ``batches`` (mappings with ``input_ids``, ``attention_mask``, ``labels`` …), without training.

    ``student`` and ``teacher`` are called with a batch without its labels and give ``logits`` over one vocabulary. A
    sequence's loss is the mean over its learnt tokens. ValueError for an ω outside [0, 1], fewer sequences than
    buckets (two each), or sequences without a learnt token.
    """
    wrong = [omega for omega in omegas if not 0 <= omega <= 1]
    if wrong:
        raise ValueError(f"omega is {wrong[0]}; give numbers from 0 to 1")
    rows = np.concatenate([_rows(student, teacher, batch, temperature, truth) for batch in batches])
    if len(rows) < 2 * max(buckets, 1):
        raise ValueError(f"{len(rows)} sequences are too few for {buckets} buckets of two and more")
    if np.isnan(rows[:, :2]).any():
        raise ValueError("a sequence has no learnt token; leave it out")
    hardness = np.argsort(rows[:, 3], kind="stable")
    parts = (
        tuple(_probed(rows[part], omegas) for part in np.array_split(hardness, buckets))
        if buckets > 1
        else ()
    )
    whole = _probed(rows, omegas)
    return Probed(whole.variance, whole.bias, parts)


def _probed(rows: Float[np.ndarray, "sequences 4"], omegas: Sequence[float]) -> Probed:
    hard, soft, bias = rows[:, 0], rows[:, 1], rows[:, 2]
    variance = {omega: float(np.var((1 - omega) * hard + omega * soft, ddof=1)) for omega in omegas}
    return Probed(variance, float(bias.mean()))


@torch.no_grad()
def _rows(
    student: Any, teacher: Any, batch: Any, temperature: float, truth: Truth | None
) -> Float[np.ndarray, "sequences 4"]:
    """For each sequence the means of CE, KD, TV to the truth, and the teacher's own loss."""
    inputs = {
        name: value for name, value in batch.items() if name not in ("labels", "layout", "loss_weights")
    }
    learnt = F.pad(batch["labels"][:, 1:] != -100, (0, 1))
    targets = F.pad(batch["labels"][:, 1:], (0, 1)).clamp(min=0)[..., None]
    log_q = student(**inputs).logits.float().log_softmax(-1)
    logits = teacher(**inputs).logits.float()
    p = (logits / temperature).softmax(-1)
    per_token = [
        -log_q.gather(-1, targets)[..., 0],
        -(p * log_q).sum(-1),
        torch.full(learnt.shape, torch.nan)
        if truth is None
        else (p - truth(batch["input_ids"]).to(p)).abs().sum(-1) / 2,
        -logits.log_softmax(-1).gather(-1, targets)[..., 0],
    ]
    count = learnt.sum(1)
    means = [torch.where(learnt, values, 0.0).sum(1) / count for values in per_token]
    if truth is None:
        means[2] = torch.full(count.shape, torch.nan)
    return torch.stack(means, 1).double().cpu().numpy()
