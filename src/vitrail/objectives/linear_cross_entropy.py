"""Cross-entropy of a linear head without the matrix of all logits.

With states h_i, head W (and bias b), post-processing f and labels y_i it gives, for each i,

    ℓ_i = −(1 − s) log p_i(y_i) − (s / V) Σ_v log p_i(v),   log p_i = z_i − log Z_i,   z_i = f(W h_i + b)

and log Z_i, with s the label smoothing. Tokens go through the head in chunks, so that memory is that of one chunk.
The gradient at the logits is u_i (p_i − (1 − s) 1[y_i] − s/V) + r_i p_i, for upstream gradients u_i of ℓ_i and r_i of
log Z_i. Two ways to it:

- :func:`summed` adds up ℓ_i times known factors. Up to one number u is known at once, so each chunk's gradients are
  made while its logits are there, as Liger's kernel does (Hsu et al. 2024, arXiv 2410.10989). No product is made twice.
- :func:`by_token` gives every ℓ_i and log Z_i, with any use of them behind it. The backward pass makes each chunk's
  logits again, one more product with W.

f is a factor (Granite, Cohere) or soft-capping, c tanh(z / c) (Gemma), or nothing. Under autocast products run in its
type, as a linear layer's would; sums over the vocabulary are float32 and up, and so is the sum of W's gradient over
chunks, which is more than the plain way offers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
LOGITS_A_CHUNK = {"cpu": 2**23}
"""How many logits are held at once: 32 MiB of float32 on a CPU, :data:`ELSEWHERE` on accelerators."""
ELSEWHERE = 2**27
FEWEST_TOKENS = 128
"""Below so many tokens a chunk's products are bound by reading W."""


@dataclass(frozen=True)
class Scaling:
    """What a model does to its logits: times ``factor``, then soft-capped at ``cap`` (None: not)."""

    factor: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """The scaled logits, in their type."""
        logits = logits if self.factor == 1.0 else logits * self.factor
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def backward(self, gradient: Tensor, scaled: Tensor) -> Tensor:
        """The gradient in front of the scaling, from that behind it and what came out."""
        if self.cap is not None:
            gradient = gradient * (1 - (scaled / self.cap).square())
        return gradient if self.factor == 1.0 else gradient * self.factor


def chunk_of(vocab: int, device: torch.device | str) -> int:
    """How many tokens go through a head of ``vocab`` rows together."""
    room = LOGITS_A_CHUNK.get(torch.device(device).type, ELSEWHERE)
    return max(FEWEST_TOKENS, room // max(vocab, 1))


def summed(
    states: Float[Tensor, "total hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, "total"],
    bias: Float[Tensor, "vocab"] | None = None,
    *,
    factors: Float[Tensor, "total"] | None = None,
    scaling: Scaling | None = None,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
) -> Float[Tensor, ""]:
    """Σ_i factor_i ℓ_i in nats, float32 or wider; labels of −100 count nothing. ``factors`` get no gradient.

    ``chunk``: tokens that go through the head together (default: :func:`chunk_of`). Its backward runs once.
    """
    if factors is not None:
        factors = factors.detach()
    making = torch.is_grad_enabled()
    arguments = _arguments(states, weight, scaling, label_smoothing, chunk)
    found: Tensor = _Summed.apply(states, weight, bias, labels, factors, making, arguments)
    return found


def by_token(
    states: Float[Tensor, "total hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, "total"],
    bias: Float[Tensor, "vocab"] | None = None,
    *,
    scaling: Scaling | None = None,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
) -> tuple[Float[Tensor, "total"], Float[Tensor, "total"]]:
    """ℓ of each token in nats (0 where the label is −100), and its log Z; both float32 or wider."""
    arguments = _arguments(states, weight, scaling, label_smoothing, chunk)
    found: tuple[Tensor, Tensor] = _ByToken.apply(states, weight, bias, labels, arguments)
    return found


@dataclass(frozen=True)
class _Arguments:
    scaling: Scaling
    smoothing: float
    chunk: int
    dtype: torch.dtype | None
    """Of the products, under autocast."""

    def logits(self, states: Tensor, head: Tensor, offset: Tensor | None) -> Tensor:
        """The scaled logits of a chunk, wide."""
        found = F.linear(states, head, offset)
        return self.scaling(found.to(torch.promote_types(found.dtype, torch.float32)))

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits, labels, reduction="none", ignore_index=IGNORED, label_smoothing=self.smoothing
        )

    def gradient(self, logits: Tensor, labels: Tensor, upper: Tensor, lower: Tensor | None) -> Tensor:
        """At the head's output, from ``upper`` of ℓ and ``lower`` of log Z, ``(chunk,)``. ``logits`` are used up."""
        upper = upper.masked_fill(labels == IGNORED, 0)[:, None]
        found = torch.softmax(logits, dim=-1)
        found *= upper if lower is None else upper + lower[:, None]
        if self.smoothing:
            found -= upper * (self.smoothing / logits.shape[-1])
        found.scatter_add_(1, labels[:, None].clamp(min=0), -(1 - self.smoothing) * upper)
        return self.scaling.backward(found, logits)

    def cast(self, tensor: Tensor | None) -> Any:
        return tensor if tensor is None or self.dtype is None else tensor.to(self.dtype)


def _arguments(
    states: Tensor, weight: Tensor, scaling: Scaling | None, smoothing: float, chunk: int | None
) -> _Arguments:
    chunk = chunk_of(weight.shape[0], states.device) if chunk is None else chunk
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; give at least one token")
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return _Arguments(scaling or Scaling(), smoothing, chunk, dtype)


class _Gradients:
    """The gradients of states, head and bias that are wanted, gathered chunk by chunk."""

    def __init__(self, states: Tensor, head: Tensor, wanted: tuple[bool, ...]) -> None:
        wide = torch.promote_types(states.dtype, torch.float32)
        self.head = head
        self.states = torch.empty_like(states) if wanted[0] else None
        self.weight = torch.zeros_like(head, dtype=wide) if wanted[1] else None
        self.bias = torch.zeros_like(head[:, 0], dtype=wide) if wanted[2] else None

    def add(self, here: slice, gradient: Tensor, entering: Tensor) -> None:
        """A chunk: its gradient at the logits and the states that entered."""
        if self.bias is not None:
            self.bias += gradient.sum(0)
        gradient = gradient.to(self.head.dtype)
        if self.states is not None:
            self.states[here] = gradient @ self.head
        if self.weight is None:
            return
        if self.weight.dtype == gradient.dtype:
            self.weight.addmm_(gradient.T, entering)
        else:
            self.weight += gradient.T @ entering


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, count, size))


def _to(tensor: Tensor | None, like: Tensor | None) -> Tensor | None:
    return None if tensor is None or like is None else tensor.to(like.dtype)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        factors: Tensor | None,
        making: bool,
        arguments: _Arguments,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:3] if making else (False, False, False)
        head, offset = arguments.cast(weight), arguments.cast(bias)
        total = torch.zeros((), dtype=torch.promote_types(states.dtype, torch.float32), device=states.device)
        ones = torch.ones_like(labels, dtype=total.dtype) if factors is None else factors.to(total.dtype)
        with torch.autocast(states.device.type, enabled=False):
            gradients = _Gradients(states, head, wanted)
            for here in _chunks(len(states), arguments.chunk):
                entering = arguments.cast(states[here])
                logits = arguments.logits(entering, head, offset)
                total += (arguments.losses(logits, labels[here]) * ones[here]).sum()
                if any(wanted):
                    made = arguments.gradient(logits, labels[here], ones[here], None)
                    gradients.add(here, made, entering)
        ctx.gradients = (gradients.states, _to(gradients.weight, weight), _to(gradients.bias, bias))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this sum were used already; run its forward again")
        made, ctx.gradients = ctx.gradients, None
        return (*(None if one is None else one.mul_(upstream.to(one.dtype)) for one in made), *[None] * 4)


class _ByToken(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, arguments: _Arguments
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(states, weight, bias, labels)
        ctx.arguments = arguments
        losses = torch.empty(
            len(states), dtype=torch.promote_types(states.dtype, torch.float32), device=states.device
        )
        log_z = torch.empty_like(losses)
        head, offset = arguments.cast(weight), arguments.cast(bias)
        with torch.autocast(states.device.type, enabled=False):
            for here in _chunks(len(states), arguments.chunk):
                logits = arguments.logits(arguments.cast(states[here]), head, offset)
                losses[here] = arguments.losses(logits, labels[here])
                log_z[here] = torch.logsumexp(logits, dim=-1)
        return losses, log_z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_losses: Tensor, of_log_z: Tensor) -> tuple[Any, ...]:
        states, weight, bias, labels = ctx.saved_tensors
        arguments: _Arguments = ctx.arguments
        head, offset = arguments.cast(weight), arguments.cast(bias)
        gradients = _Gradients(states, head, ctx.needs_input_grad[:3])
        for here in _chunks(len(states), arguments.chunk):
            entering = arguments.cast(states[here])
            logits = arguments.logits(entering, head, offset)
            made = arguments.gradient(logits, labels[here], of_losses[here], of_log_z[here])
            gradients.add(here, made, entering)
        return (gradients.states, _to(gradients.weight, weight), _to(gradients.bias, bias), None, None)
