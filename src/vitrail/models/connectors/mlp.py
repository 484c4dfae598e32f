"""The two-layer projector of LLaVA-1.5, with pooling to a grid before it.

Liu et al., "Improved Baselines with Visual Instruction Tuning" (arXiv 2310.03744): ``W2 · GELU(W1 · x)``. Pooling the
grid first (adaptive average, as in many later models) bounds the tokens a picture costs. Deviations, both settings:
a layer norm in front, because convolutional features are not normalised, and a learned embedding for each cell,
because a decoder sees only a one-dimensional order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from vitrail.models.connectors.connector import Connector
from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig


class MLPConnector(Connector):
    """Pool each picture's grid to ``pool`` × ``pool`` tokens, then two linear layers with GELU between."""

    class Config(ComponentConfig):
        """``pool``: side of the pooled grid (None: no pooling); ``hidden``: width between the two layers (None: the
        language model's); ``norm``: layer norm in front; ``cell_embedding``: a learned vector for each pooled cell.
        """

        pool: int | None = Field(default=4, gt=0)
        hidden: int | None = Field(default=None, gt=0)
        norm: bool = True
        cell_embedding: bool = True

    def __init__(self, config: Config, tower_width: int, hidden_size: int) -> None:
        super().__init__()
        if config.cell_embedding and config.pool is None:
            raise ValueError(
                "connector.cell_embedding needs connector.pool: without it the number of cells is open"
            )
        self.config = config
        inner = config.hidden or hidden_size
        self.norm = nn.LayerNorm(tower_width) if config.norm else nn.Identity()
        self.up = nn.Linear(tower_width, inner)
        self.down = nn.Linear(inner, hidden_size)
        self.cells = None
        if config.cell_embedding and config.pool is not None:
            self.cells = nn.Parameter(torch.zeros(config.pool**2, hidden_size))

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """The pooled grid, whatever comes in; the tower's own grid without pooling."""
        return (self.config.pool, self.config.pool) if self.config.pool is not None else (rows, cols)

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens in raster order, and how many belong to each picture."""
        lengths = features.lengths
        tokens = self.norm(features.tokens)
        if self.config.pool is not None:
            tokens, lengths = self._pool(tokens, features), torch.full_like(lengths, self.config.pool**2)
        tokens = self.down(F.gelu(self.up(tokens)))
        if self.cells is not None:
            tokens = tokens + self.cells.repeat(len(lengths), 1)
        return tokens, lengths

    def _pool(self, tokens: Tensor, features: Features) -> Tensor:
        side = self.config.pool
        assert side is not None
        rows, cols = features.coords[:, 1].max() + 1, features.coords[:, 2].max() + 1
        same = bool((features.lengths == rows * cols).all())
        if same:  # one call for all pictures
            grid = tokens.reshape(len(features.lengths), int(rows), int(cols), -1).permute(0, 3, 1, 2)
            pooled = F.adaptive_avg_pool2d(grid, side)
            return pooled.flatten(2).mT.reshape(-1, tokens.shape[-1])
        normed = Features(tokens, features.lengths, features.coords)
        grids = [F.adaptive_avg_pool2d(grid.permute(2, 0, 1), side) for grid in normed.grids()]
        return torch.cat([grid.flatten(1).mT for grid in grids])
