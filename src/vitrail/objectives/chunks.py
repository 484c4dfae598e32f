"""A sum over many rows of logits, some rows at a time.

A loss over a large vocabulary makes several float32 copies of the logits. Here each chunk's gradient is computed with
its loss and kept in the logits' own precision, so that the copies of one chunk alone are alive, and nothing is computed
twice. The price is a second tensor of the logits' size until the backward, and that no second derivative exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Piece = Callable[[Tensor, slice], Tensor]
"""(rows of the logits, which rows these are) → a scalar."""


def summed(piece: Piece, logits: Float[Tensor, "kept vocab"], chunk: int) -> Float[Tensor, ""]:
    """The sum of ``piece`` over chunks of ``chunk`` rows; zero, and still in the graph, for no rows.

    Gradients flow to ``logits`` alone: whatever else ``piece`` reads is taken for constant.
    """
    if not len(logits):
        return logits.float().sum()
    if len(logits) <= chunk:
        return piece(logits, slice(0, len(logits)))
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return torch.stack([piece(part, rows) for part, rows in _parts(logits, chunk)]).sum()
    total: Tensor = _Summed.apply(logits, piece, chunk)
    return total


def _parts(logits: Tensor, chunk: int) -> list[tuple[Tensor, slice]]:
    begins = range(0, len(logits), chunk)
    return [
        (part, slice(begin, begin + len(part)))
        for begin, part in zip(begins, logits.split(chunk), strict=True)
    ]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, logits: Tensor, piece: Piece, chunk: int) -> Tensor:
        sums, gradients = [], []
        for part, rows in _parts(logits.detach(), chunk):
            with torch.enable_grad():
                own = part.requires_grad_()
                found = piece(own, rows)
                (gradient,) = torch.autograd.grad(found, own)
            sums.append(found.detach())
            gradients.append(gradient)
        context.save_for_backward(torch.cat(gradients))
        return torch.stack(sums).sum()

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return gradient * upstream[0].to(gradient.dtype), None, None
