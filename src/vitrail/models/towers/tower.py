"""The seam *tower*: a module from pixels to :class:`~vitrail.models.features.Features`."""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from vitrail.models.features import Features


class ComponentConfig(BaseModel):
    """The frozen, typed configuration of a component; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Tower(nn.Module):
    """What every tower offers.

    ``width`` is the dimension of its tokens. :meth:`grid` tells the grid of tokens from a picture's size alone, so
    that placeholders can be counted before a pixel is read.
    """

    Config: ClassVar[type[ComponentConfig]]
    config: Any
    width: int

    def settings(self) -> dict[str, Any]:
        """The configuration as plain values, without what is at its default."""
        return self.config.model_dump(exclude_defaults=True)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of tokens for a picture of ``width`` × ``height`` pixels."""
        raise NotImplementedError

    def image_processor(self) -> Any:
        """The transformers image processor that makes this tower's ``pixel_values``."""
        raise NotImplementedError

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Features:
        """Features of a batch of pictures."""
        raise NotImplementedError
