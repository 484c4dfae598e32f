"""What a stage's teachers add to its plan: a forward of each in the steps that ask it, its weights, and its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitrail.recipes import teachers
from vitrail.recipes.schema import Model, Recipe

if TYPE_CHECKING:
    from vitrail.objectives.teacher import TeacherConfig
    from vitrail.recipes.lengths import Sampled
    from vitrail.training.stages import StageConfig


def with_teachers(
    recipe: Recipe,
    stage: StageConfig,
    steps: int | None,
    found: Sampled,
    flops: float,
    memory: dict[str, float],
) -> tuple[float, dict[str, float]]:
    """Operations of a mean optimiser step and bytes by kind, those of the teachers included.

    ``flops`` and ``memory`` are the student's; ``memory`` may be empty where it was not asked for. A teacher that
    leaves counts with its share of the steps in operations, and in full in memory.
    """
    for config, share in teachers.shares(stage, steps):
        more, weights, logits = _cost(config, recipe, stage, found)
        flops += share * more
        if memory:
            memory = {
                **memory,
                "weights": memory["weights"] + weights,
                "activations": memory["activations"] + logits,
            }
    return flops, memory


def _cost(
    config: TeacherConfig, recipe: Recipe, stage: StageConfig, found: Sampled
) -> tuple[float, float, float]:
    """Operations of a teacher's forwards in an optimiser step; bytes of its weights; bytes of its logits."""
    from vitrail.recipes.costs import Batch, language_flops
    from vitrail.recipes.pictures_cost import picture_coster
    from vitrail.recipes.shapes import shapes

    seen = shapes(Model.model_validate(teachers.model_of(config, recipe)))
    model: Any = seen.model.requires_grad_(False)
    lengths, rows = found.lengths, stage.batch_size
    visual = 0.0
    if any(getattr(one.config, "beta", 0) for one in stage.objectives):  # distributions at visual tokens
        visual = sum(plan.num_tokens for plans in found.plans for plan in plans) / max(len(found.plans), 1)
    asked = max(round(rows * (lengths.labelled + visual)), 1)
    vision, _ = picture_coster(seen).step(found, rows, {}, 4)
    flops = vision.flops + language_flops(model, Batch(rows, max(round(lengths.tokens), 1), asked))
    weights = float(sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()))
    words = model.get_input_embeddings().weight.shape[0]
    return flops * stage.accumulation, weights, 4.0 * rows * (lengths.most_labelled + visual) * words
