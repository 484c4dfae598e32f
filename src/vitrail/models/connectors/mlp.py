"""The two-layer projector of LLaVA-1.5, with pooling to a grid before it.

Liu et al., "Improved Baselines with Visual Instruction Tuning" (arXiv 2310.03744): ``W2 · GELU(W1 · x)``. Pooling the
grid first (adaptive average, as in many later models) bounds the tokens a picture costs. Deviations, all settings:
a layer norm in front, because convolutional features are not normalised; a learned embedding for each cell, because a
decoder sees only a one-dimensional order; blocks of neighbours as one token.

As the control of another connector it is made as large as that one: the width between its layers is computed from the
other's parameters (``match``).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from vitrail import registry
from vitrail.models.connectors.connector import Connector
from vitrail.models.connectors.grids import grouped, grouped_shape, pooled
from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig


class MLPConnector(Connector):
    """Pool each picture's grid to ``pool`` × ``pool`` tokens, then two linear layers with GELU between."""

    class Config(ComponentConfig):
        """``pool``: side of the pooled grid (None: no pooling); ``hidden``: width between the two layers (None: the
        language model's); ``norm``: layer norm in front; ``cell_embedding``: a learned vector for each pooled cell;
        ``cell_words``: words in front of each pooled cell that name its place ("top left:"), for the language model to
        read as SmolVLM's reads its row and column markers. They cost two or three tokens a cell. ``stride``: blocks of
        ``stride × stride`` tokens become one, behind the pooling. ``match``: another connector ``{"name": …,
        **settings}``, whose number of parameters decides ``hidden``.
        """

        pool: int | None = Field(default=4, gt=0)
        hidden: int | None = Field(default=None, gt=0)
        norm: bool = True
        cell_embedding: bool = True
        cell_words: bool = False
        stride: int = Field(default=1, gt=0)
        match: dict[str, Any] | None = None

    def __init__(self, config: Config, tower_width: int, hidden_size: int) -> None:
        super().__init__()
        for name in ("cell_embedding", "cell_words"):
            if getattr(config, name) and config.pool is None:
                raise ValueError(
                    f"connector.{name} needs connector.pool: without it the number of cells is open"
                )
        if config.match is not None and config.hidden is not None:
            raise ValueError(
                "connector.match decides the width between the layers; leave connector.hidden out"
            )
        self.config = config
        inner = config.hidden or hidden_size
        if config.match is not None:
            wanted = parameters_of(config.match, tower_width, hidden_size)
            inner = matched_hidden(wanted, tower_width, hidden_size, config)
        self.norm = nn.LayerNorm(tower_width) if config.norm else nn.Identity()
        self.up = nn.Linear(tower_width * config.stride**2, inner)
        self.down = nn.Linear(inner, hidden_size)
        self.cells = None
        if config.cell_embedding and config.pool is not None:
            rows, cols = self.grid(config.pool, config.pool)
            self.cells = nn.Parameter(torch.zeros(rows * cols, hidden_size))

    def reset_parameters(self) -> None:
        """What no layer of it resets: the learned vectors of the cells, to zeros."""
        if self.cells is not None:
            nn.init.zeros_(self.cells)

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """The pooled grid, whatever comes in; the tower's own grid without pooling. In blocks of ``stride``."""
        side = self.config.pool
        return grouped_shape(*((rows, cols) if side is None else (side, side)), self.config.stride)

    def cell_texts(self, rows: int, cols: int) -> tuple[str, ...]:
        """The places of the pooled cells in words, with ``cell_words``."""
        if not self.config.cell_words:
            return ()
        side, _ = self.grid(rows, cols)
        texts = [f"{place}:" for place in place_words(side)]
        return (texts[0], *(f" {text}" for text in texts[1:]))

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens in raster order, and how many belong to each picture."""
        normed = Features(self.norm(features.tokens), features.lengths, features.coords, shape=features.shape)
        if self.config.pool is not None:
            normed = pooled(normed, self.config.pool)
        normed = grouped(normed, self.config.stride)
        tokens = self.down(F.gelu(self.up(normed.tokens)))
        if self.cells is not None:
            tokens = tokens + self.cells.repeat(normed.lengths.shape[0], 1)
        return tokens, normed.lengths


def matched_hidden(
    parameters: int, tower_width: int, hidden_size: int, config: MLPConnector.Config | None = None
) -> int:
    """The width between the layers with which an MLP of ``config`` comes nearest to ``parameters``.

    ValueError if even a width of 1 has more.
    """
    config = config if config is not None else MLPConnector.Config()
    cells = 0
    if config.cell_embedding and config.pool is not None:
        cells = (config.pool // config.stride) ** 2 * hidden_size
    fixed = hidden_size + cells + (2 * tower_width if config.norm else 0)
    unit = tower_width * config.stride**2 + 1 + hidden_size
    hidden = round((parameters - fixed) / unit)
    if hidden < 1:
        raise ValueError(
            f"connector.match: the other connector has {parameters:,} parameters, an MLP with a width of 1 already "
            f"{fixed + unit:,}; a smaller one cannot be the control"
        )
    return hidden


def parameters_of(connector: dict[str, Any], tower_width: int, hidden_size: int) -> int:
    """Parameters of a connector ``{"name": …, **settings}``, counted without drawing any."""
    given = dict(connector)
    kind = registry.get("connector", given.pop("name"))
    with torch.device("meta"):
        built = kind(kind.Config(**given), tower_width=tower_width, hidden_size=hidden_size)
    return sum(parameter.numel() for parameter in built.parameters())


def place_words(side: int) -> list[str]:
    """What people call the cells of a ``side`` × ``side`` grid, in raster order: "top left" … "bottom right".

    Grids finer than 3 × 3 have more cells than there are such words: "row 1 column 2".
    """
    if side > 3:
        return [f"row {row} column {col}" for row in range(1, side + 1) for col in range(1, side + 1)]
    rows = {1: ("",), 2: ("top", "bottom"), 3: ("top", "", "bottom")}[side]
    cols = {1: ("",), 2: ("left", "right"), 3: ("left", "", "right")}[side]
    return [f"{row} {col}".strip() or "center" for row in rows for col in cols]
