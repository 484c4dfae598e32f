"""What the parts that see pictures cost, from a picture's plan.

Our own towers and connectors are run on the meta device (:mod:`vitrail.recipes.costs`). The towers of transformers look
at values on the way (grids, windows, padding), so theirs is counted: a patch goes once through every weight of the
tower's linear and convolutional layers, and sees the patches of its own tile (or window). The tests compare the count
with what torch counts on real models of each family. Activations that a training tower keeps are those of Korthikanti
et al. (2022, "Reducing activation recomputation in large transformer models", eq. 1, without dropout and with fused
attention): ``8 width + 2 inner`` values a patch and block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vitrail.data.image_plans.plan import ImagePlan
from vitrail.recipes.costs import StepCost


@dataclass(frozen=True)
class VisionSizes:
    """The sizes of a transformer tower and of what follows it.

    ``patch`` in pixels; ``passed`` the weights that each patch goes through; ``blocks`` of ``width`` and ``inner``;
    ``window`` the most patches that a windowed block sees, ``whole`` the blocks without windows; ``connector`` the
    weights that each visual token goes through.
    """

    patch: int
    passed: int
    blocks: int
    width: int
    inner: int
    whole: int
    window: int
    connector: int

    @classmethod
    def of(cls, model: Any) -> VisionSizes | None:
        """The sizes of a model (on any device); None for a model whose tower is no stack of blocks."""
        from vitrail.models import anatomy

        parts = anatomy.parts(model)
        blocks = parts.get("tower.blocks")
        if not isinstance(blocks, nn.ModuleList) or not len(blocks):
            return None
        linear = [module for module in blocks[0].modules() if isinstance(module, nn.Linear)]
        vision = model.config.vision_config
        windowed = getattr(vision, "fullatt_block_indexes", None)
        patch = _side(vision.patch_size)
        return cls(
            patch=patch,
            passed=sum(
                module.weight.numel()
                for module in parts["tower"].modules()
                if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d))
            ),
            blocks=len(blocks),
            width=linear[0].in_features,
            inner=max(module.in_features for module in linear),
            whole=len(blocks) if windowed is None else len(windowed),
            window=0 if windowed is None else (_side(vision.window_size) // patch) ** 2,
            connector=sum(parameter.numel() for parameter in parts["connector"].parameters()),
        )

    def patches(self, plan: ImagePlan) -> list[int]:
        """Patches of each tile of a picture."""
        return [
            max(tile.size[0] // self.patch, 1) * max(tile.size[1] // self.patch, 1) for tile in plan.tiles
        ]

    def tower_flops(self, plan: ImagePlan) -> float:
        """Operations of the tower's forward for a picture."""
        tiles = self.patches(plan)
        seen = sum(self.whole * n * n + (self.blocks - self.whole) * n * min(n, self.window) for n in tiles)
        return 2.0 * self.passed * sum(tiles) + 4.0 * self.width * seen

    def connector_flops(self, plan: ImagePlan) -> float:
        """Operations of the connector's forward for a picture."""
        return 2.0 * self.connector * plan.num_tokens

    def kept_bytes(self, plan: ImagePlan, value: int) -> float:
        """What backward through the tower keeps of a picture; ``value`` bytes a number."""
        return float(value * self.blocks * (8 * self.width + 2 * self.inner) * sum(self.patches(plan)))

    def passing_bytes(self, plan: ImagePlan, value: int) -> float:
        """What a tower that does not train holds at once: each block's output, and the inside of one block."""
        a_patch = (self.blocks + 1) * self.width + 8 * self.width + 2 * self.inner
        return float(value * a_patch * sum(self.patches(plan)))


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, (list, tuple)) else size)


PIXEL_BYTES = 3 * 4
"""Three channels, float32: as pixels wait for the tower."""


def pixel_bytes(plan: ImagePlan) -> float:
    """The pixels of a picture as the tower gets them."""
    return float(PIXEL_BYTES * sum(tile.size[0] * tile.size[1] for tile in plan.tiles))


def vision_cost(
    sizes: VisionSizes, plans: Sequence[ImagePlan], value: int, *, tower: bool, connector: bool
) -> tuple[StepCost, float]:
    """One micro-batch's pictures: what stays alive until backward, and the bytes that pass while the tower runs.

    ``value`` bytes a number; ``tower`` and ``connector`` say what trains.
    """
    flops = kept = passing = 0.0
    for plan in plans:
        flops += sizes.tower_flops(plan) * (3 if tower else 1)
        flops += sizes.connector_flops(plan) * (3 if connector else 2 if tower else 1)
        kept += pixel_bytes(plan)
        if tower:
            kept += sizes.kept_bytes(plan, value)
        else:
            passing += sizes.passing_bytes(plan, value)
        if tower or connector:
            kept += float(value * 4 * sizes.width * sum(sizes.patches(plan)))
    return StepCost(flops, kept), passing
