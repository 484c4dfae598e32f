"""How alike the tokens of a picture are to one another, and how far two models differ in that.

LLaVA-KD's relation distillation (Cai et al., arXiv 2410.16236): the tokens of a picture are normalised, ``R = y yᵀ``
holds their cosines, and ``L = 1 − cos(vec R_student, vec R_teacher)``. Neither the width of the tokens nor a rotation
of their space enters, so models of different hidden sizes compare. A picture of one token has R = [1] on both sides,
and no loss.

Deviation: where a record has several pictures, each has a relation matrix of its own (the paper has one a record).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def relations(tokens: Float[Tensor, "count dim"], eps: float = 1e-8) -> Float[Tensor, "count count"]:
    """The cosine of every token with every other, float32."""
    unit = F.normalize(tokens.float(), dim=-1, eps=eps)
    return unit @ unit.T


def relation_loss(
    student: Float[Tensor, "total student_dim"],
    teacher: Float[Tensor, "teacher_total teacher_dim"],
    lengths: Sequence[int],
    eps: float = 1e-8,
) -> Float[Tensor, ""]:
    """The sum over pictures of ``1 − cos(vec R_s, vec R_t)``; ``lengths`` are their tokens, one after another.

    ValueError where the two sides have different numbers of tokens.
    """
    if len(student) != len(teacher) or sum(lengths) != len(student):
        raise ValueError(
            f"the student has {len(student)} visual tokens, the teacher {len(teacher)}, and the pictures "
            f"{sum(lengths)}: relations compare token by token; use a teacher of as many tokens a picture"
        )
    lost = [
        1
        - F.cosine_similarity(relations(own, eps).flatten(), relations(other, eps).flatten(), dim=0, eps=eps)
        for own, other in zip(
            student.split(list(lengths)), teacher.detach().split(list(lengths)), strict=True
        )
    ]
    return torch.stack(lost).sum() if lost else student.float().sum()
