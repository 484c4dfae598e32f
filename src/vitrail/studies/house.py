"""What studies on tiny pretrained parts share: the tuned house control, and arms that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import changed

EVALUATION = "development"
"""The recipe's evaluation. Tuning asks its development fold, the result the test fold; every seed draws its scenes."""


def house(name: str = "house-nano", questions: int = 480, **fields: Any) -> dict[str, Any]:
    """The house control as a plain recipe, asked ``questions`` questions; ``fields`` are overrides."""
    recipe = load(name, {f"data.{EVALUATION}.n": questions})
    return plain(load(recipe, {key.replace("__", "."): value for key, value in fields.items()}))


def arm_recipe(base: Mapping[str, Any], change: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``base`` with a change in the form of the catalogue's ``[method]`` and ``[control]``."""
    return changed(base, change, where)
