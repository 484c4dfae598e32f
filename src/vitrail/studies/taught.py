"""Studies whose arms have a teacher by recipe: a mock trains that for two steps, too."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vitrail.studies.arms import Arm, changed
from vitrail.studies.declaring import MOCK_RECORDS, Study
from vitrail.studies.design import Association, Design


@dataclass(frozen=True)
class Taught(Study):
    """A study whose objectives name teachers by their recipes."""

    def design(self, testbed: str, mock: bool = False) -> Design | Association:
        """As any study's; in a mock every teacher takes two steps on few records."""
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
    return replace(arm, recipe=changed(arm.recipe, {"set": smaller}, f"the mock of {arm.name}"))


def _smaller(objective: Any) -> Any:
    if isinstance(objective, (list, tuple)):
        return [_smaller(one) for one in objective]
    teacher = objective.get("teacher") if isinstance(objective, Mapping) else None
    if not (isinstance(teacher, Mapping) and isinstance(teacher.get("recipe"), Mapping)):
        return objective
    recipe = copy.deepcopy(dict(teacher["recipe"]))
    for data in recipe["data"].values():
        data["n"] = min(data["n"], MOCK_RECORDS)
    recipe["stages"] = [{**stage, "max_steps": 2, "epochs": None} for stage in recipe["stages"]]
    return {**objective, "teacher": {**teacher, "recipe": recipe}}
