"""Cross-entropy to the true token mixed with cross-entropy to a teacher, over labelled tokens.

Per position, with the student's distribution q, the teacher's p^τ ∝ p^{1/τ} and the token x that came next:

    l = (1 − ω) · (−log q(x)) + ω · (−Σ_v p^τ(v) log q(v))

The gradient on the logits is ``q − [(1 − ω) onehot(x) + ω p^τ]``. The teacher may be stored as its ``k`` likeliest
words (:func:`top_k_targets`): what remains of its mass is then one more word, to which the student gives what it gives
to all others together; with k = vocabulary nothing remains and both forms agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitrail.objectives.chunks import summed

CHUNK = 256


@dataclass(frozen=True)
class TopK:
    """A teacher's distribution at some positions: its ``k`` likeliest words, and the mass of all others."""

    words: Int[Tensor, "kept k"]
    mass: Float[Tensor, "kept k"]

    @property
    def rest(self) -> Float[Tensor, "kept"]:
        """What the other words have together."""
        return (1 - self.mass.sum(-1)).clamp(min=0)

    def rows(self, begin: int, end: int) -> TopK:
        """Some positions."""
        return TopK(self.words[begin:end], self.mass[begin:end])


def top_k_targets(teacher_logits: Float[Tensor, "kept vocab"], k: int, temperature: float = 1.0) -> TopK:
    """The ``k`` likeliest words with their mass at ``temperature``. ValueError for k < 1 or above the vocabulary."""
    if not 1 <= k <= teacher_logits.shape[-1]:
        raise ValueError(f"k is {k}; give 1 to {teacher_logits.shape[-1]}, the number of words")
    mass, words = softened(teacher_logits, temperature).topk(k, dim=-1)
    return TopK(words, mass)


def softened(logits: Float[Tensor, "kept vocab"], temperature: float) -> Float[Tensor, "kept vocab"]:
    """``p^{1/τ}``, normalised, float32. ValueError for a temperature of 0 or less."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0")
    return (logits.detach().float() / temperature).softmax(-1)


def mixed_distillation_loss(
    student_logits: Float[Tensor, "batch tokens student_vocab"],
    teacher: Float[Tensor, "batch tokens teacher_vocab"] | TopK,
    labels: Int[Tensor, "batch tokens"],
    omega: float,
    temperature: float = 1.0,
    mask: Bool[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, ""]:
    """The mean of ``l`` over tokens with a label (and in ``mask``), shifted as in transformers: position t predicts
    label t + 1. A :class:`TopK` holds the positions that count, row by row.

    ValueError for an ω outside [0, 1], or where no token has a label.
    """
    if not 0 <= omega <= 1:
        raise ValueError(f"omega is {omega}; give a number from 0 to 1")
    learnt = labels[:, 1:] != -100
    if mask is not None:
        learnt = learnt & mask[:, 1:]
    if not bool(learnt.any()):
        raise ValueError("no token of the batch has a label; leave such batches out")
    at = F.pad(learnt, (0, 1))
    student, targets = student_logits[at], labels[:, 1:][learnt]
    total = (1 - omega) * F.cross_entropy(student.float(), targets, reduction="sum")
    if omega:
        target = teacher if isinstance(teacher, TopK) else teacher[at]
        total = total + omega * soft_cross_entropy(student, target, temperature)
    return total / len(targets)


def soft_cross_entropy(
    student: Float[Tensor, "kept student_vocab"],
    teacher: Float[Tensor, "kept teacher_vocab"] | TopK,
    temperature: float = 1.0,
    *,
    vocabulary: int | None = None,
    weights: Float[Tensor, "kept"] | None = None,
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """``−Σ_v p^τ(v) log q(v)``, summed over positions, each times its weight.

    ``vocabulary``: the words that both know (default: those of the narrower head). ``chunk``: positions whose float32
    softmaxes are alive together. A stored teacher has its temperature in it, and ``temperature`` is not used.
    """
    narrow = student.shape[-1] if isinstance(teacher, TopK) else teacher.shape[-1]
    student = student[:, : min(student.shape[-1], narrow, vocabulary or narrow)]

    def piece(own: Tensor, rows: slice) -> Tensor:
        if isinstance(teacher, TopK):
            found = _against_top(own, teacher.rows(rows.start, rows.stop))
        else:
            found = _against_all(own, softened(teacher[rows, : own.shape[-1]], temperature))
        return (found if weights is None else found * weights[rows].to(found)).sum()

    return summed(piece, student, chunk)


def _against_all(student: Tensor, p: Tensor) -> Tensor:
    log_q = student.float().log_softmax(-1)
    return -(p * log_q.masked_fill(torch.isinf(log_q), 0.0)).sum(-1)


def _against_top(student: Tensor, top: TopK) -> Tensor:
    log_q = student.float().log_softmax(-1)
    named = -(top.mass.to(log_q) * log_q.gather(-1, top.words.long())).sum(-1)
    if top.words.shape[-1] == student.shape[-1]:
        return named
    others = log_q.scatter(-1, top.words.long(), -torch.inf).logsumexp(-1)
    return named - top.rest.to(log_q) * others
