"""Liger's fused linear cross-entropy (Hsu et al. 2024, arXiv 2410.10989), on CUDA where ``liger-kernel`` is installed.

Before it is used it has to give, on a small problem on the same device, the loss and the gradients that
:mod:`vitrail.objectives.linear_cross_entropy` gives. So neither its absence, another version's interface, nor a card
that it does not serve is an error.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor

from vitrail.objectives import linear_cross_entropy
from vitrail.objectives.linear_cross_entropy import Scaling

DEVICES = ("cuda",)
"""Where its kernels run."""


def serves(states: Tensor, scaling: Scaling) -> bool:
    """Whether it is there, right, and can do this scaling (no factor)."""
    return states.device.type in DEVICES and scaling.factor == 1.0 and _is_right(str(states.device))


def summed(
    states: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None = None,
    cap: float | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """As :func:`vitrail.objectives.linear_cross_entropy.summed` without factors."""
    kind: Any = importlib.import_module(
        "liger_kernel.transformers.fused_linear_cross_entropy"
    ).LigerFusedLinearCrossEntropyLoss
    loss = kind(ignore_index=-100, label_smoothing=label_smoothing, reduction="sum", softcap=cap)
    found: Tensor = loss(weight, states, labels, bias)
    return found


@functools.cache
def _is_right(device: str) -> bool:
    if importlib.util.find_spec("liger_kernel") is None:
        return False
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(*shape, generator=generator) for shape in ((6, 32), (50, 32))]
    labels = torch.tensor([0, 7, -100, 49, 7, 3], device=device)
    found = []
    try:
        with torch.enable_grad(), torch.autocast(torch.device(device).type, enabled=False):
            for loss_of in (summed, linear_cross_entropy.summed):
                states, weight = (part.to(device).requires_grad_() for part in parts)
                loss = 0.5 * loss_of(states, weight, labels, label_smoothing=0.1)
                loss.backward()
                found.append((loss.detach(), states.grad, weight.grad))
    except Exception:  # whatever a kernel of another version, card or compiler raises
        return False
    return all(
        a is not None and b is not None and torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-3)
        for a, b in zip(*found, strict=True)
    )
