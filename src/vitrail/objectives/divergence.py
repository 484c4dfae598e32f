"""How far a student's next-token distribution is from a teacher's.

With p the teacher's softmax and q the student's, in float32 over their common words:

- ``forward_kl``: Σ p log(p/q), the default; ``reverse_kl``: Σ q log(q/p); ``symmetric``: their mean;
- ``skew_forward``: KL(p ‖ λp + (1−λ)q), ``skew_reverse``: KL(q ‖ λq + (1−λ)p), λ = ``skew`` (Ko et al., DistiLLM,
  arXiv 2402.03898);
- ``js``: ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½(p + q); ``tv``: ½ Σ |p − q|.

A temperature T divides both sides' logits. The loss is not multiplied by T² (Hinton et al. 2015 do so to keep the size
of its gradient): give the objective a weight for that. Words whose logit is infinite on either side add nothing, as in
LLaVA-KD's released functions.

Positions are taken ``chunk`` at a time (:mod:`vitrail.objectives.chunks`), so that the float32 copies of a whole batch
are never alive together.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.objectives.chunks import summed

Divergence = Literal["forward_kl", "reverse_kl", "symmetric", "skew_forward", "skew_reverse", "js", "tv"]
SKEW = 0.1
CHUNK = 256


def divergence(
    student_logits: Float[Tensor, "*positions student_vocab"],
    teacher_logits: Float[Tensor, "*positions teacher_vocab"],
    mask: Bool[Tensor, "*positions"] | None = None,
    kind: Divergence = "forward_kl",
    temperature: float = 1.0,
    *,
    skew: float = SKEW,
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """The mean over the positions of ``mask`` (default: all), in nats; zero where it holds none.

    Heads of different width are cut to the narrower one. ValueError for a temperature of 0 or less, a skew outside
    (0, 1), or a kind that is not known.
    """
    flat_student, flat_teacher = student_logits.flatten(0, -2), teacher_logits.flatten(0, -2)
    if mask is not None:
        chosen = mask.flatten()
        flat_student, flat_teacher = flat_student[chosen], flat_teacher[chosen]
    total = divergence_sum(flat_student, flat_teacher, kind, temperature, skew=skew, chunk=chunk)
    return total / max(len(flat_student), 1)


def divergence_sum(
    student: Float[Tensor, "kept student_vocab"],
    teacher: Float[Tensor, "kept teacher_vocab"],
    kind: Divergence = "forward_kl",
    temperature: float = 1.0,
    *,
    skew: float = SKEW,
    chunk: int = CHUNK,
    vocabulary: int | None = None,
    weights: Float[Tensor, "kept"] | None = None,
) -> Float[Tensor, ""]:
    """The sum over positions, each times its weight. ``vocabulary``: the words that both know (default: those of the
    narrower head). Errors as :func:`divergence`.
    """
    if kind not in _KINDS:
        raise ValueError(f"divergence is {kind!r}; known are {', '.join(_KINDS)}")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    if not 0 < skew < 1:
        raise ValueError(f"skew is {skew}; give a number between 0 and 1")
    width = min(student.shape[-1], teacher.shape[-1], vocabulary or student.shape[-1])
    student, teacher = student[:, :width], teacher.detach()[:, :width]

    def piece(own: Tensor, rows: slice) -> Tensor:
        found = each(own, teacher[rows], kind, temperature, skew)
        return (found if weights is None else found * weights[rows].to(found)).sum()

    return summed(piece, student, chunk)


def each(
    student: Float[Tensor, "kept vocab"],
    teacher: Float[Tensor, "kept vocab"],
    kind: Divergence = "forward_kl",
    temperature: float = 1.0,
    skew: float = SKEW,
) -> Float[Tensor, "kept"]:
    """The divergence at each position, float32, over one common vocabulary."""
    never = torch.isinf(student) | torch.isinf(teacher)
    log_q = (student.float() / temperature).log_softmax(-1).masked_fill(never, 0.0)
    log_p = (teacher.float() / temperature).log_softmax(-1).masked_fill(never, 0.0)
    q, p = log_q.exp().masked_fill(never, 0.0), log_p.exp().masked_fill(never, 0.0)
    return _KINDS[kind](p, log_p, q, log_q, skew)


def _kl(p: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    return (p * (log_p - log_q)).sum(-1)


def _mixed(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """``log(share · a + (1 − share) · b)``."""
    log_share = torch.tensor([share, 1 - share], device=log_a.device).log()
    return torch.logaddexp(log_a + log_share[0], log_b + log_share[1])


def _js(p: Tensor, log_p: Tensor, q: Tensor, log_q: Tensor, _: float) -> Tensor:
    middle = _mixed(log_p, log_q, 0.5)
    return (_kl(p, log_p, middle) + _kl(q, log_q, middle)) / 2


_KINDS = {
    "forward_kl": lambda p, log_p, q, log_q, skew: _kl(p, log_p, log_q),
    "reverse_kl": lambda p, log_p, q, log_q, skew: _kl(q, log_q, log_p),
    "symmetric": lambda p, log_p, q, log_q, skew: (_kl(p, log_p, log_q) + _kl(q, log_q, log_p)) / 2,
    "skew_forward": lambda p, log_p, q, log_q, skew: _kl(p, log_p, _mixed(log_p, log_q, skew)),
    "skew_reverse": lambda p, log_p, q, log_q, skew: _kl(q, log_q, _mixed(log_q, log_p, skew)),
    "js": _js,
    "tv": lambda p, log_p, q, log_q, skew: (p - q).abs().sum(-1) / 2,
}
