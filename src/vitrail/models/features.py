"""What a tower gives and a connector takes: ragged features of any modality."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Tokens of several media items, one after another.

    ``tokens`` ``(total, dim)``; ``lengths`` ``(items,)``, tokens of each item; ``coords`` ``(total, 3)``: frame or
    tile, row, column of each token; ``pooled`` one vector an item, where the tower has one; ``hidden_states`` earlier
    layers in the same order as ``tokens``, where asked for; ``shape`` rows and columns of every item, where all are
    known to have the same full grid without a look at ``coords``.
    """

    tokens: Float[Tensor, "total dim"]
    lengths: Int[Tensor, "items"]
    coords: Int[Tensor, "total 3"]
    kind: str = "image"
    pooled: Float[Tensor, "items pooled_dim"] | None = None
    hidden_states: tuple[Float[Tensor, "total _"], ...] = field(default=())
    shape: tuple[int, int] | None = None

    @classmethod
    def from_grid(
        cls, tokens: Float[Tensor, "items count dim"], rows: int, cols: int, pooled: Tensor | None = None
    ) -> Features:
        """Items that all have the same grid of ``rows`` × ``cols`` tokens, in raster order."""
        items, count, dim = tokens.shape
        if count != rows * cols:
            raise ValueError(f"{count} tokens an item do not fill a grid of {rows} × {cols}")
        return cls(
            tokens=tokens.reshape(items * count, dim),
            lengths=torch.full((items,), count, device=tokens.device),
            coords=grid_coords(rows, cols, tokens.device).repeat(items, 1),
            pooled=pooled,
            shape=(rows, cols),
        )

    def grids(self) -> list[Float[Tensor, "rows cols dim"]]:
        """Each item as a grid. ValueError for an item of several frames or with holes."""
        grids = []
        counts = self.lengths.tolist()
        for tokens, coords in zip(self.tokens.split(counts), self.coords.split(counts), strict=True):
            rows, cols = int(coords[:, 1].max()) + 1, int(coords[:, 2].max()) + 1
            if rows * cols != len(tokens):
                raise ValueError(f"{len(tokens)} tokens are not one full grid of {rows} × {cols}")
            grids.append(tokens.reshape(rows, cols, -1))
        return grids


def grid_coords(rows: int, cols: int, device: torch.device | str = "cpu") -> Int[Tensor, "count 3"]:
    """Frame 0, row, column of a grid in raster order."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, col], dim=-1).reshape(-1, 3).to(device)
