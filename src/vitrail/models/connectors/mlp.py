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
        language model's); ``norm``: layer norm in front; ``cell_embedding``: a learned vector for each pooled cell;
        ``cell_words``: words in front of each pooled cell that name its place ("top left:"), for the language model to
        read as SmolVLM's reads its row and column markers. They cost two or three tokens a cell.
        """

        pool: int | None = Field(default=4, gt=0)
        hidden: int | None = Field(default=None, gt=0)
        norm: bool = True
        cell_embedding: bool = True
        cell_words: bool = False

    def __init__(self, config: Config, tower_width: int, hidden_size: int) -> None:
        super().__init__()
        for name in ("cell_embedding", "cell_words"):
            if getattr(config, name) and config.pool is None:
                raise ValueError(
                    f"connector.{name} needs connector.pool: without it the number of cells is open"
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

    def cell_texts(self, rows: int, cols: int) -> tuple[str, ...]:
        """The places of the pooled cells in words, with ``cell_words``."""
        side = self.config.pool
        if not self.config.cell_words or side is None:
            return ()
        texts = [f"{place}:" for place in place_words(side)]
        return (texts[0], *(f" {text}" for text in texts[1:]))

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


def place_words(side: int) -> list[str]:
    """What people call the cells of a ``side`` × ``side`` grid, in raster order: "top left" … "bottom right".

    Grids finer than 3 × 3 have more cells than there are such words: "row 1 column 2".
    """
    if side > 3:
        return [f"row {row} column {col}" for row in range(1, side + 1) for col in range(1, side + 1)]
    rows = {1: ("",), 2: ("top", "bottom"), 3: ("top", "", "bottom")}[side]
    cols = {1: ("",), 2: ("left", "right"), 3: ("left", "", "right")}[side]
    return [f"{row} {col}".strip() or "center" for row in rows for col in cols]
