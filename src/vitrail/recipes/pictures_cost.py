"""What pictures cost in a stage: one interface over our own towers, those of transformers, and no tower at all."""

from __future__ import annotations

from typing import Any

from vitrail.recipes.costs import StepCost
from vitrail.recipes.lengths import Sampled
from vitrail.recipes.shapes import Shapes
from vitrail.recipes.vision_costs import VisionSizes, vision_cost


class NoPictures:
    """A model without a tower."""

    once_flops = 0.0
    """Operations that each picture costs once in a run, because its features are kept."""

    def step(self, found: Sampled, batch: int, trained: dict[str, int], value: int) -> tuple[StepCost, float]:
        """One micro-batch: its cost with what stays alive until backward, and the bytes that pass before that.

        ``trained`` are parameters by part; ``value`` bytes of a number.
        """
        return StepCost(0.0, 0.0), 0.0

    def asked_flops(self, found: Sampled) -> float:
        """Operations of the tower for one question."""
        return found.lengths.pictures * self.once_flops


class OwnTower(NoPictures):
    """vitrail's own model: a frozen tower's features are kept, and the connector sees a grid of one size."""

    def __init__(self, model: Any, described: dict[str, Any]) -> None:
        from vitrail.recipes.costs import tower_flops

        self.model, self.grid, self.side = model, described["tower_grid"], described["image_size"]
        self.once_flops = tower_flops(model.tower, (self.side, self.side))

    def step(self, found: Sampled, batch: int, trained: dict[str, int], value: int) -> tuple[StepCost, float]:
        """As declared."""
        from vitrail.recipes.costs import connector_cost, tower_cost

        pictures = round(batch * found.lengths.pictures)
        cost = connector_cost(self._connector(), tuple(self.grid), self.model.tower.width, pictures)
        if trained.get("tower", 0):
            cost = cost + tower_cost(self.model.tower, (self.side, self.side), pictures)
        return cost, 0.0

    def _connector(self) -> Any:
        from vitrail.models.vlm import build_connector

        config = self.model.config
        connector = build_connector(
            config.connector, self.model.tower.width, config.get_text_config().hidden_size
        )
        trains = any(parameter.requires_grad for parameter in self.model.connector.parameters())
        return connector.requires_grad_(trains)


class TransformerTower(NoPictures):
    """A family of transformers: pixels go through the tower in every step."""

    def __init__(self, sizes: VisionSizes) -> None:
        self.sizes = sizes

    def step(self, found: Sampled, batch: int, trained: dict[str, int], value: int) -> tuple[StepCost, float]:
        """As declared; operations of a mean record, memory of the one with the most pixels."""
        trains = {"tower": bool(trained.get("tower", 0)), "connector": bool(trained.get("connector", 0))}
        every = [plan for plans in found.plans for plan in plans]
        mean, _ = vision_cost(self.sizes, every, value, **trains)
        most, passing = vision_cost(self.sizes, found.richest, value, **trains)
        flops = mean.flops / max(len(found.plans), 1)
        return StepCost(batch * flops, batch * most.activation_bytes), batch * passing

    def asked_flops(self, found: Sampled) -> float:
        """As declared: tower and connector, forward."""
        every = [plan for plans in found.plans for plan in plans]
        cost, _ = vision_cost(self.sizes, every, 4, tower=False, connector=False)
        return cost.flops / max(len(found.plans), 1)


def picture_coster(seen: Shapes) -> NoPictures:
    """What fits the model. A tower that is neither ours nor a stack of blocks counts as none."""
    from vitrail.recipes.anatomy_text import picture_tokens

    described = picture_tokens(seen)
    if "tower_grid" in described:
        return OwnTower(seen.model, described)
    sizes = VisionSizes.of(seen.model) if seen.family.kind == "multimodal" else None
    return NoPictures() if sizes is None else TransformerTower(sizes)
