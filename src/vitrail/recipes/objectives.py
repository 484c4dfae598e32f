"""From what a stage says it minimises to the objective itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from vitrail import registry

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.objectives.objective import Objective
    from vitrail.recipes.schema import Recipe
    from vitrail.training.stages import StageConfig


def build_objective(stage: StageConfig, bundle: Bundle, recipe: Recipe | None = None) -> Objective:
    """The stage's objective, a weighted sum where it names several.

    A constructor is given by keyword what it asks for: ``bundle``, ``model``, ``tokenizer``, ``encoder``, and
    ``teacher``, the one that its settings name (which needs the ``recipe``).
    """
    from vitrail.objectives.objective import Sum

    built = [(one.factor, _one(one, bundle, recipe)) for one in stage.objectives]
    return Sum(built) if isinstance(stage.objective, tuple) else built[0][1]


def wants_preferences(stage: StageConfig) -> bool:
    """Whether the stage reads its records as preferences. ValueError if only some of its objectives do."""
    wanted = [getattr(one.component(), "preferences", False) for one in stage.objectives]
    if any(wanted) and not all(wanted):
        raise ValueError(
            f"stage {stage.name!r}: objectives on preferences do not go with others in one stage"
        )
    return all(wanted)


def _one(named: Any, bundle: Bundle, recipe: Recipe | None) -> Any:
    component = registry.get("objective", named.name)
    offered: dict[str, Any] = {
        "bundle": bundle,
        "model": bundle.model,
        "tokenizer": bundle.tokenizer,
        "encoder": bundle.encoder,
    }
    asked = inspect.signature(component.__init__).parameters
    if "teacher" in asked and recipe is not None and named.config.teacher is not None:
        from vitrail.recipes.teachers import teacher_of

        offered["teacher"] = teacher_of(named.config.teacher, recipe, bundle)
    return named.build(**{name: part for name, part in offered.items() if name in asked})
