"""The Fréchet distance of two clouds of vectors, each taken for a Gaussian, by three ways to the square root.

Dowson and Landau (1982); as an image score Heusel et al. (2017)::

    d² = ‖μ_x − μ_y‖² + Tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½)

``Tr (Σ_x Σ_y)^½`` is the sum of the roots of the eigenvalues of ``Σ_x^½ Σ_y Σ_x^½``, which is symmetric and has none
below zero. ``eig`` takes them. ``newton_schulz`` finds both roots by matrix products alone (coupled iteration after
scaling by the Frobenius norm, Higham 2008, eq. 6.35), for accelerators. ``sqrtm`` is scipy's root of the product
itself, its real part, as the Modality Integration Rate's authors have it. All three take singular covariances (fewer
rows than dimensions); there the value depends on how many rows there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Method = Literal["eig", "sqrtm", "newton_schulz"]
_FEWEST, _MOST, _SETTLED = 28, 60, 1e-7


@dataclass(frozen=True)
class Moments:
    """Mean and covariance (divisor n − 1) of ``count`` vectors, float64."""

    count: int
    mean: Float[Tensor, "dim"]
    covariance: Float[Tensor, "dim dim"]

    @classmethod
    def of(cls, rows: Float[Tensor, "total dim"]) -> Moments:
        """The moments of at least two vectors. ValueError for fewer, or for numbers that are not finite."""
        sums = RunningMoments(rows.shape[-1])
        sums.add(rows)
        return sums.moments()

    def scaled(self, factor: float) -> Moments:
        """The moments of the vectors times ``factor``."""
        return Moments(self.count, self.mean * factor, self.covariance * factor**2)


class RunningMoments:
    """Moments of vectors that come in parts (Chan, Golub and LeVeque 1979), and their mean length, in float64."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.count = 0
        self.norms = 0.0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def add(self, rows: Float[Tensor, "total dim"]) -> None:
        """Count ``rows`` in. ValueError for another dimension, or for numbers that are not finite."""
        if rows.shape[-1] != self.dim:
            raise ValueError(f"vectors of {rows.shape[-1]} dimensions came after such of {self.dim}")
        if not len(rows):
            return
        wide = _wide(rows)
        if not bool(torch.isfinite(wide).all()):
            raise ValueError("a hidden state is NaN or infinite; look for the layer where that begins")
        mean = wide.mean(0)
        centred = wide - mean
        scatter = centred.T @ centred
        count = len(rows)
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = mean, scatter
        else:
            total, gap = self.count + count, mean - self._mean
            self._scatter += scatter + torch.outer(gap, gap) * (self.count * count / total)
            self._mean += gap * (count / total)
        self.count += count
        self.norms += float(wide.norm(dim=-1).sum())

    def moments(self) -> Moments:
        """Mean and covariance. ValueError for fewer than two vectors."""
        if self.count < 2 or self._mean is None or self._scatter is None:
            raise ValueError(f"{self.count} vectors have no covariance; at least 2 are needed")
        return Moments(self.count, self._mean, self._scatter / (self.count - 1))


def frechet_distance(
    x: Float[Tensor, "total dim"], y: Float[Tensor, "others dim"], method: Method = "eig"
) -> float:
    """``d²`` between the vectors ``x`` and ``y``, computed in float64. ValueError for different dimensions."""
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"the two sets have {x.shape[-1]} and {y.shape[-1]} dimensions; they must be the same"
        )
    return frechet_of_moments(Moments.of(x), Moments.of(y), method)


def frechet_of_moments(x: Moments, y: Moments, method: Method = "eig") -> float:
    """``d²`` between two Gaussians; what rounding leaves below zero is zero."""
    if method not in get_args(Method):
        raise ValueError(f"method is {method!r}; known: {', '.join(get_args(Method))}")
    spread = x.covariance.trace() + y.covariance.trace()
    distance = (x.mean - y.mean).square().sum() + spread - 2 * trace_of_root(x, y, method)
    # What is smaller than the rounding of the traces is nothing.
    return float(distance) if float(distance) > 1e-12 * float(spread) else 0.0


def trace_of_root(x: Moments, y: Moments, method: Method = "eig") -> float:
    """``Tr (Σ_x Σ_y)^½``."""
    if method == "sqrtm":
        return _by_scipy(x.covariance, y.covariance)
    if method == "newton_schulz":
        root = _newton_schulz(x.covariance)
        return float(_newton_schulz(root @ y.covariance @ root).trace())
    values, vectors = torch.linalg.eigh(x.covariance)
    half = vectors * values.clamp(min=0).sqrt()
    inner = half.T @ y.covariance @ half
    return float(torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum())


def _newton_schulz(matrix: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """The root of a symmetric matrix without negative eigenvalues: ``Y ← Y T, Z ← T Z, T = (3 I − Z Y) / 2``.

    An eigenvalue λ of the scaled matrix needs about log(1/λ) / log 2.25 steps, so a trace that does not move yet
    says nothing: at least 28 steps are made (λ ≥ 1e-10), then as many as the trace moves, at most 60. Those that are
    zero but for rounding stay near zero so long.
    """
    norm = matrix.norm()
    if not float(norm):
        return torch.zeros_like(matrix)
    unit = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    y, z = (matrix + matrix.T) / (2 * norm), unit
    before = float(y.trace())
    for step in range(_MOST):
        t = (3 * unit - z @ y) / 2
        y_next = y @ t
        now = float(y_next.trace())
        if not math.isfinite(now) or abs(now) > 1e6 * len(matrix):
            break  # rounding of zero eigenvalues has begun to grow: the last step stands
        y, z = y_next, t @ z
        if step >= _FEWEST and abs(now - before) <= _SETTLED * abs(now):
            break
        before = now
    return (y + y.T) * (norm.sqrt() / 2)


def _by_scipy(x: Float[Tensor, "dim dim"], y: Float[Tensor, "dim dim"]) -> float:
    import warnings

    import numpy as np
    from scipy import linalg

    left, right = x.cpu().numpy(), y.cpu().numpy()
    for share in (0.0, 1e-10, 1e-6):  # a singular product may have no root that scipy finds: move it a little
        shift = share * np.eye(len(left)) * max(np.trace(left), np.trace(right)) / len(left)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root = linalg.sqrtm((left + shift) @ (right + shift))
        root = root[0] if isinstance(root, tuple) else root
        if np.isfinite(root).all():
            return float(np.trace(root).real)
    raise ValueError(
        "scipy found no root of the covariances' product; use method='eig', which takes any covariance"
    )


def _wide(rows: Tensor) -> Tensor:
    """float64, which Apple's accelerator does not have: there on the CPU."""
    return (rows.cpu() if rows.device.type == "mps" else rows).double()
