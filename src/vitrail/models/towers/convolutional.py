"""A small convolutional tower for small pictures: a strided stem and residual blocks on one grid.

The block is ConvNeXt's (Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545):
``x + W2 · GELU(W1 · LayerNorm(depthwise(x)))``, with normalisation over the channels of each cell alone, so that
features depend on no batch and no running statistics. Deviations: the stem halves the picture once for each entry of
``channels`` (3 × 3 convolution, layer norm, GELU) instead of cutting it into patches, and all blocks work on the last
grid, so that the features of every depth lie over the same cells. transformers' ``convnext`` pools between its
stages, which leaves a 64-pixel picture two cells a side.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig, Tower


class _CellNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell."""

    def forward(self, x: Float[Tensor, "images dim rows cols"]) -> Float[Tensor, "images dim rows cols"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Float[Tensor, "images dim rows cols"]) -> Float[Tensor, "images dim rows cols"]:
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.down(F.gelu(self.up(h))).permute(0, 3, 1, 2)


class ConvolutionalTower(Tower):
    """``(images, 3, side, side)`` → a grid of ``side / 2^len(channels)`` cells a side, rounded up.

    ``hidden_states`` hold the stem's output and that of each block, ``tokens`` the last one normalised, ``pooled``
    their mean over the grid.
    """

    class Config(ComponentConfig):
        """``image_size``: pictures are resized to this square; ``channels``: after each halving, the last is the width
        of the tokens; ``blocks``: how many on the last grid; ``kernel``: side of their depthwise convolution (odd);
        ``expansion``: their inner width over the outer.
        """

        image_size: int = Field(default=64, ge=8, le=1024)
        channels: tuple[int, ...] = Field(default=(24, 64, 128), min_length=1)
        blocks: int = Field(default=4, ge=1)
        kernel: int = Field(default=5, ge=1)
        expansion: int = Field(default=2, ge=1)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.kernel % 2 == 0:
            raise ValueError(
                f"tower.kernel is {config.kernel}; give an odd number, so that cells stay in place"
            )
        if any(channels < 1 for channels in config.channels):
            raise ValueError(f"tower.channels is {list(config.channels)}; give numbers of 1 or more")
        self.config = config
        self.width = config.channels[-1]
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *config.channels), config.channels, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), _CellNorm(outputs), nn.GELU()]
        self.stem = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(
            _Block(self.width, config.kernel, config.expansion) for _ in range(config.blocks)
        )
        self.norm = _CellNorm(self.width)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Every picture is resized to the same square, so the grid is always the same."""
        side = math.ceil(self.config.image_size / 2 ** len(self.config.channels))
        return side, side

    def image_processor(self) -> Any:
        """Resize to the square and scale to [-1, 1]."""
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        side = self.config.image_size
        return SiglipImageProcessorPil(
            size={"height": side, "width": side}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
        )

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Features:
        """Features of a batch of pictures."""
        x = self.stem(pixel_values)
        depths = [x]
        for block in self.blocks:
            x = block(x)
            depths.append(x)
        last = self.norm(x)
        rows, cols = last.shape[-2:]
        features = Features.from_grid(
            last.flatten(2).transpose(1, 2), rows, cols, pooled=last.mean(dim=(2, 3))
        )
        return replace(features, hidden_states=tuple(_flat(depth) for depth in depths))


def _flat(cells: Float[Tensor, "images dim rows cols"]) -> Float[Tensor, "total dim"]:
    return cells.flatten(2).transpose(1, 2).flatten(0, 1)
