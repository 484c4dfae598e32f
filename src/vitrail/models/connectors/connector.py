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
    tokens comes out for a grid of tower tokens, from sizes alone, and :attr:`around` how many tokens without a place
    stand in front of that grid and behind it; placeholders are counted with both.
    """

    Config: ClassVar[type[ComponentConfig]]

    @property
    def around(self) -> tuple[int, int]:
        """Tokens in front of a picture's grid and behind it, which belong to the picture: begin and end."""
        return 0, 0

    def grid(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of tokens that come out for ``rows`` × ``cols`` tower tokens."""
        raise NotImplementedError

    def num_tokens(self, rows: int, cols: int) -> int:
        """How many tokens come out for one picture."""
        out_rows, out_cols = self.grid(rows, cols)
        return out_rows * out_cols + sum(self.around)

    def cell_texts(self, rows: int, cols: int) -> tuple[str, ...]:
        """Texts that stand in front of the tokens of a picture, one each in raster order; none by default."""
        return ()

    def reset_like(self, embeddings: nn.Embedding) -> None:
        """Begin from the language model's word embeddings.

        Called once, when the connector is fresh and the language model has its weights; by default nothing happens.
        """

    def forward(self, features: Features) -> tuple[Float[Tensor, "total hidden"], Int[Tensor, "items"]]:
        """Flat tokens, and how many belong to each item."""
        raise NotImplementedError
