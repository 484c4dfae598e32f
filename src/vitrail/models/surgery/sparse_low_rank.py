"""Linear layers whose weight is low-rank plus sparse, trained without ever keeping the whole matrix.

SLTrain (Han et al. 2024, arXiv 2406.02214):  ``W = s·B A + S``,  ``y = x Wᵀ + b``,  with ``B (out, rank)``, ``A (rank,
in)``, ``s = alpha / rank``, and ``S`` non-zero at places that are drawn once, uniformly, and never change. Forward
makes W for one product and drops it. Backward keeps x, B, A and the values v alone, makes W again, and with
``G = dYᵀ X``:  ``dX = dY W``,  ``dB = G (sA)ᵀ``,  ``dA = s Bᵀ G``,  ``dv = G[places]``,  ``db = Σ dY``.

Deviation: under autocast the product runs in its type and gradients come back in that of the parameters.
"""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def draw_places(total: int, count: int, generator: torch.Generator | None = None) -> Int[Tensor, "count"]:
    """``count`` different numbers below ``total``, sorted, every choice equally likely.

    Drawn in rounds: a permutation of all places of a large matrix would cost gigabytes.
    """
    if count * 4 > total:
        return torch.randperm(total, generator=generator)[:count].sort().values
    found = torch.empty(0, dtype=torch.long)
    while len(found) < count:
        more = torch.randint(total, (int((count - len(found)) * 1.1) + 16,), generator=generator)
        found = torch.cat([found, more]).unique()
    surplus = torch.randperm(len(found), generator=generator)[:count]
    return found[surplus].sort().values


def compose(
    B: Float[Tensor, "out_features rank"],
    A: Float[Tensor, "rank in_features"],
    scale: float | Tensor,
    values: Float[Tensor, "nonzero"] | None,
    places: Int[Tensor, "nonzero"] | None,
) -> Float[Tensor, "out_features in_features"]:
    """``scale · B A + S``, by plain operations that autograd follows."""
    weight = B @ (scale * A)
    if values is None or places is None:
        return weight
    return weight.view(-1).index_add(0, places, values.to(weight.dtype)).view_as(weight)


class _Product(torch.autograd.Function):
    """``x Wᵀ + b`` that saves the factors instead of W."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        B: Tensor,
        A: Tensor,
        scale: Tensor,
        values: Tensor | None,
        places: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, B, A, scale, values, places)
        with _own_type(x):
            weight = _weight(x.dtype, B, A, scale, values, places)
            return F.linear(x, weight, None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, B, A, scale, values, places = ctx.saved_tensors
        wants_x, wants_B, wants_A, wants_scale, wants_values, _, wants_bias = ctx.needs_input_grad
        dx = dB = dA = dscale = dvalues = dbias = None
        with _own_type(x):
            dy = dy.to(x.dtype)
            rows = dy.flatten(0, -2)
            if wants_x:
                dx = dy @ _weight(x.dtype, B, A, scale, values, places)
            if wants_bias:
                dbias = rows.sum(0)
            if wants_B or wants_A or wants_scale or wants_values:
                G = rows.T @ x.flatten(0, -2)
                if wants_values:
                    dvalues = G.view(-1)[places].to(values.dtype)
                if wants_B:
                    dB = (G @ (scale * A).to(G.dtype).T).to(B.dtype)
                if wants_A or wants_scale:
                    BG = B.to(G.dtype).T @ G
                    dA = (scale * BG).to(A.dtype) if wants_A else None
                    dscale = (BG * A).sum().to(scale.dtype).reshape(scale.shape) if wants_scale else None
        return dx, dB, dA, dscale, dvalues, None, dbias


def _own_type(x: Tensor) -> AbstractContextManager[Any]:
    """Without autocast; the meta device knows none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _weight(
    dtype: torch.dtype, B: Tensor, A: Tensor, scale: Tensor, values: Tensor | None, places: Tensor | None
) -> Tensor:
    weight = B.to(dtype) @ (scale * A).to(dtype)
    if values is not None and places is not None:
        weight.view(-1).index_add_(0, places, values.to(dtype))
    return weight


class SparseLowRankLinear(nn.Module):
    """A linear layer with the weight ``s·B A + S``.

    ``rank`` of the product; ``density`` the share of places where S is not zero, ``int(density · in · out)`` of them;
    ``alpha`` / ``rank`` the scale s, or with ``trained_scale`` the tanh of a scalar that begins at 1. ``lora_A``-like
    ``A`` begins Kaiming-uniform, ``B`` at zero, values uniform in ±1/√in, the bias in ±1/√out. What is drawn is drawn
    from ``generator`` (default: torch's own) on the CPU. ValueError for a rank below 1 or a density without a place.

    It is no ``nn.Linear``: whatever writes into ``weight`` (adapters, merging) is refused there instead of writing
    into a copy. Make it one with :meth:`to_linear` first.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        density: float,
        alpha: float = 32.0,
        bias: bool = False,
        trained_scale: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0 < density < 1:
            raise ValueError(
                f"density is {density}; give a share between 0 and 1 (LowRankLinear has no sparse part)"
            )
        nonzero = int(density * in_features * out_features)
        if nonzero == 0:
            raise ValueError(
                f"density {density} leaves no value in a matrix of {out_features} × {in_features}; "
                f"give {1 / (in_features * out_features):.1e} or more"
            )
        self._shape(in_features, out_features, rank, nonzero, alpha, bias, trained_scale, device, dtype)
        self.reset_parameters(generator)

    def _shape(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        nonzero: int,
        alpha: float,
        bias: bool,
        trained_scale: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        if rank <= 0:
            raise ValueError(f"rank is {rank}; give 1 or more")
        if rank > min(in_features, out_features):
            warnings.warn(
                f"rank {rank} of a matrix of {out_features} × {in_features} is more than it can have; "
                f"a rank above {min(in_features, out_features)} only costs",
                stacklevel=3,
            )
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_features, self.out_features = in_features, out_features
        self.rank, self.nonzero, self.alpha = rank, nonzero, alpha
        self.B = nn.Parameter(torch.empty(out_features, rank, **place))
        self.A = nn.Parameter(torch.empty(rank, in_features, **place))
        self.values = nn.Parameter(torch.empty(nonzero, **place)) if nonzero else None
        places = torch.empty(nonzero, dtype=torch.long, device=device) if nonzero else None
        self.register_buffer("places", places)
        self.bias = nn.Parameter(torch.empty(out_features, **place)) if bias else None
        self.scale = nn.Parameter(torch.ones((), **place)) if trained_scale else None

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw places and values anew; on the meta device nothing happens."""
        if self.B.is_meta:
            return

        def uniform(target: Tensor, bound: float) -> None:
            target.copy_(torch.rand(target.shape, generator=generator) * (2 * bound) - bound)

        self.B.zero_()
        uniform(self.A, 1 / math.sqrt(self.in_features))  # Kaiming-uniform with a = √5
        if self.values is not None:
            uniform(self.values, 1 / math.sqrt(self.in_features))
            self.places.copy_(draw_places(self.in_features * self.out_features, self.nonzero, generator))  # type: ignore[operator, union-attr]
        if self.bias is not None:
            uniform(self.bias, 1 / math.sqrt(self.out_features))
        if self.scale is not None:
            self.scale.fill_(1.0)

    @property
    def factor(self) -> Tensor:
        """The scale of the product, a scalar."""
        if self.scale is not None:
            return torch.tanh(self.scale)
        return self.B.new_full((), self.alpha / self.rank)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """``x Wᵀ + b``."""
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return _Product.apply(x, self.B, self.A, self.factor, self.values, self.places, self.bias)

    def plain(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """The same by plain operations, which keep W for the backward pass: what :meth:`forward` is checked against."""
        return F.linear(x, self.dense_weight(), self.bias)

    def dense_weight(self) -> Float[Tensor, "out_features in_features"]:
        """W, differentiable."""
        return compose(self.B, self.A, self.factor, self.values, self.places)  # type: ignore[arg-type]

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        """An ordinary linear layer with this one's weight and bias."""
        made = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.B.device,
            dtype=self.B.dtype,
        )
        made.weight.copy_(self.dense_weight())
        if self.bias is not None:
            made.bias.copy_(self.bias)
        return made.train(self.training)

    def check_places(self) -> None:
        """ValueError if the places are not different, sorted, and inside the matrix."""
        if self.places is None or self.places.is_meta:
            return
        places, total = self.places, self.in_features * self.out_features
        rising = bool((places[1:] > places[:-1]).all())  # type: ignore[index, operator]
        if not rising or int(places[0]) < 0 or int(places[-1]) >= total:  # type: ignore[index, arg-type]
            raise ValueError(
                f"places of a sparse weight of {self.out_features} × {self.in_features} must be different, sorted and "
                f"below {total}; these are not: the file is damaged or of another model"
            )

    def extra_repr(self) -> str:
        """Sizes, as torch prints them."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}, "
            f"nonzero={self.nonzero}, bias={self.bias is not None}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if f"{prefix}places" in state_dict:
            self.check_places()


class LowRankLinear(SparseLowRankLinear):
    """A linear layer with the weight ``s·B A``: the same without the sparse part, B drawn so that it can learn.

    With B at zero and no sparse part the layer would begin at zero and its input would get no gradient; B then begins
    uniform in ±1/√rank.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rank: int,
        alpha: float = 32.0,
        bias: bool = False,
        trained_scale: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self._shape(in_features, out_features, rank, 0, alpha, bias, trained_scale, device, dtype)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw anew."""
        super().reset_parameters(generator)
        if not self.B.is_meta:
            bound = 1 / math.sqrt(self.rank)
            self.B.copy_(torch.rand(self.B.shape, generator=generator) * (2 * bound) - bound)
