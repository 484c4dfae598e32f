"""The seam *connector*: features of a tower → flat tokens in the language model's width."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig


class Connector(nn.Module):
    """What every connector offers.

    It is built from its config, the tower's width and the language model's width. :meth:`grid` says which grid of
    tokens comes out for a grid of tower tokens, from sizes alone; the collator counts placeholders with it.
    """

    Config: ClassVar[type[ComponentConfig]]

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of tokens that come out for ``rows`` × ``cols`` tower tokens."""
        raise NotImplementedError

    def num_tokens(self, rows: int, cols: int) -> int:
        """How many tokens come out for one picture."""
        out_rows, out_cols = self.grid(rows, cols)
        return out_rows * out_cols

    def cell_texts(self, rows: int, cols: int) -> tuple[str, ...]:
        """Texts that stand in front of the tokens of a picture, one each in raster order; none by default."""
        return ()

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens, and how many belong to each item."""
        raise NotImplementedError
