"""How much of one model's features a linear map finds in another's.

Shi et al., "When Do We Not Need Larger Vision Models?" (arXiv 2403.13043), section 4.2: does a smaller model over
several scales hold what a larger one does? With tokens ``x`` of the one and ``y`` of the other at the same places::

    l = E ‖W x + c − y‖²,   l₀ = E ‖E y − y‖²,   I = −log (l / l₀)   in nats

``I*`` is the same with a still larger model's tokens as ``x``: part of any feature cannot be found in any other, and
``I / I*`` says how much of what can be is. Deviation: the least squares have a closed form, which is computed from
running sums (one pass, float64, nothing to tune) in place of a trained layer; ``ridge`` steadies it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Information:
    """``loss`` of the map and ``dummy_loss`` of the mean token, both mean squares of an element; ``tokens`` they are
    over.
    """

    loss: float
    dummy_loss: float
    tokens: int

    @property
    def nats(self) -> float:
        """−log (loss / dummy loss): 0 for a map that finds nothing, infinite for one that finds all."""
        return -math.log(self.loss / self.dummy_loss) if self.loss > 0 else math.inf

    def ratio(self, best: Information) -> float:
        """``I / I*``, with ``best`` from the largest source. ValueError where that finds nothing."""
        if not best.nats > 0:
            raise ValueError(f"the best source has {best.nats:.3g} nats: it finds nothing to compare with")
        return self.nats / best.nats


class LinearReconstruction:
    """The best affine map from one model's tokens to another's, from batches: :meth:`add` each, then :meth:`solve`.

    ``ridge`` is added to the squares of the source's channels, as a share of their mean.
    """

    def __init__(self, ridge: float = 1e-6) -> None:
        if not ridge >= 0:
            raise ValueError(f"ridge is {ridge}; give 0 or more")
        self.ridge = ridge
        self.count = 0
        self._sums: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self._map: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, source: Float[Tensor, "*batch dim"], target: Float[Tensor, "*batch other"]) -> None:
        """Count tokens in. ValueError for different numbers of tokens, or numbers that are not finite."""
        x, y = _rows(source, target)
        sums = (x.sum(0), y.sum(0), x.T @ x, x.T @ y)
        if self._sums is None:
            self._sums = sums
        elif self._sums[3].shape != sums[3].shape:
            raise ValueError(
                f"tokens of {tuple(sums[3].shape)} channels (source, target) came after {tuple(self._sums[3].shape)}"
            )
        else:
            self._sums = tuple(old + new for old, new in zip(self._sums, sums, strict=True))  # type: ignore[assignment]
        self.count += len(x)
        self._map = None

    def solve(self) -> tuple[Float[Tensor, "dim other"], Float[Tensor, "other"]]:
        """``W`` (transposed) and ``c``. ValueError for fewer than two tokens."""
        weight, bias, _ = self._solved()
        return weight, bias

    def _solved(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._sums is None or self.count < 2:
            raise ValueError(f"{self.count} tokens have no linear map; add at least 2")
        if self._map is None:
            sum_x, sum_y, xx, xy = self._sums
            mean_x, mean_y = sum_x / self.count, sum_y / self.count
            squares = xx / self.count - torch.outer(mean_x, mean_x)
            crossed = xy / self.count - torch.outer(mean_x, mean_y)
            steady = self.ridge * squares.diagonal().mean() * torch.eye(len(squares), dtype=squares.dtype)
            # Least squares of the normal equations: channels that say the same twice have no inverse.
            weight = torch.linalg.lstsq(squares + steady, crossed, driver="gelsd").solution
            self._map = (weight, mean_y - mean_x @ weight, mean_y)
        return self._map

    def information(
        self, source: Float[Tensor, "*batch dim"], target: Float[Tensor, "*batch other"]
    ) -> Information:
        """What the map finds in tokens that may be others than those it was solved for."""
        x, y = _rows(source, target)
        weight, bias, mean = self._solved()
        if x.shape[1] != len(weight) or y.shape[1] != len(bias):
            raise ValueError(
                f"tokens of {x.shape[1]} and {y.shape[1]} channels for a map from {len(weight)} to {len(bias)}"
            )
        return Information(
            float((x @ weight + bias - y).square().mean()), float((mean - y).square().mean()), len(x)
        )


def _rows(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if source.shape[:-1] != target.shape[:-1]:
        raise ValueError(
            f"source has tokens {tuple(source.shape[:-1])}, target {tuple(target.shape[:-1])}; bring both to one grid "
            "first (pooled_to of vitrail.models.towers.scales)"
        )
    rows = [one.detach().cpu().double().reshape(-1, one.shape[-1]) for one in (source, target)]
    for name, one in zip(("source", "target"), rows, strict=True):
        if not bool(torch.isfinite(one).all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")
    return rows[0], rows[1]
