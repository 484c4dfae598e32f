"""Studies whose arms name models by recipe (teachers, starts, differences, filters): these take two steps in a mock."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import Study, few_records
from vitrail.studies.design import Association, Design


@dataclass(frozen=True)
class Taught(Study):
    """A study whose objectives, models or data name other models by their recipes."""

    def design(self, testbed: str, mock: bool = False) -> Design | Association:
        """As any study's; in a mock every such model takes two steps on few records."""
        made = super().design(testbed, mock)
        if not mock or isinstance(made, Association):
            return made
        return replace(
            made,
            control=_small(made.control),
            methods=tuple(_small(arm) for arm in made.methods),
            context=tuple(_small(arm) for arm in made.context),
        )


def _small(arm: Arm) -> Arm:
    objectives = {f"stages.{stage['name']}.objective": stage["objective"] for stage in arm.recipe["stages"]}
    smaller = {field: _smaller(objective) for field, objective in objectives.items()}
    smaller |= {f"model.{name}": value for name, value in _shorter_model(arm.recipe["model"]).items()}
    smaller |= _smaller_filters(arm.recipe["data"])
    return replace(arm, recipe=changed(arm.recipe, {"set": smaller}, f"the mock of {arm.name}"))


def _smaller_filters(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of filters of documents: their encoders two steps long, as few negatives as few records have."""
    found: dict[str, Any] = {}
    for name, one in data.items():
        if one["kind"] == "relevant" and isinstance(one["encoder"].get("recipe"), Mapping):
            found[f"data.{name}.encoder"] = {"recipe": _shorter(one["encoder"]["recipe"])}
            found |= {f"data.{name}.n_negatives": 15, f"data.{name}.top_k": 4}
    return found


def _smaller(objective: Any) -> Any:
    if isinstance(objective, (list, tuple)):
        return [_smaller(one) for one in objective]
    teacher = objective.get("teacher") if isinstance(objective, Mapping) else None
    if not (isinstance(teacher, Mapping) and isinstance(teacher.get("recipe"), Mapping)):
        return objective
    return {**objective, "teacher": {**teacher, "recipe": _shorter(teacher["recipe"])}}


def _shorter(given: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of two steps on few records; so are those of the models that it begins with."""
    recipe = copy.deepcopy(dict(given))
    for name, n in few_records(recipe["data"]).items():
        recipe["data"][name]["n"] = n
    recipe["stages"] = [{**stage, "max_steps": 2, "epochs": None} for stage in recipe["stages"]]
    recipe["model"] = {**recipe["model"], **_shorter_model(recipe["model"])}
    return recipe


def _shorter_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe's ``model`` that name others by recipe, these two steps long."""
    found: dict[str, Any] = {}
    if isinstance(model.get("recipe"), Mapping):
        found["recipe"] = _shorter(model["recipe"])
    if model.get("deltas"):
        found["deltas"] = [
            {
                name: {"recipe": _shorter(side["recipe"])}
                if isinstance(side, Mapping) and "recipe" in side
                else side
                for name, side in delta.items()
            }
            for delta in model["deltas"]
        ]
    return found
