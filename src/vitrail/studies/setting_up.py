"""From an arm to the recipe of one cell: seed, scenes, learning rate, steps, and the fold that it is measured on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from vitrail.recipes import overrides
from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm
from vitrail.studies.cells import Cell, Role

Fold = Literal["development", "test"]
TUNING_DRAW = 900_001
"""Scenes that tuning is done on; no result is ever measured on them (another fold, and another draw)."""
DRAWN = ("scenes", "translations", "facts")
"""Kinds of data that every draw makes anew."""
TWIN = 500_000
"""Added to a seed: the second run of an A/A pair, on the same scenes."""


def cell(
    arm: Arm,
    role: Role,
    *,
    evaluation: str,
    draw: int,
    seed: int | None = None,
    fold: Fold = "test",
    factor: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    steps: Mapping[str, int] | None = None,
    questions: int | None = None,
    precision: str | None = None,
) -> Cell:
    """One cell of ``arm``. ``factor`` scales every learning rate, ``settings`` are values of its grid, ``steps`` how
    long each stage is (default: as in the recipe), ``questions`` how many are asked at most.
    """
    recipe, _ = overrides.apply(plain(load(arm.recipe)), dict(settings or {}))
    recipe = copy.deepcopy(recipe)
    recipe["seed"] = draw if seed is None else seed
    used = {stage["data"] for stage in recipe["stages"]}
    for name, data in recipe["data"].items():
        if data["kind"] in DRAWN and data.get("seed") is None and name in used:
            data["seed"] = draw
    for stage in recipe["stages"]:
        stage["learning_rate"] = _scaled(stage["learning_rate"], factor)
        stage["checkpoint_minutes"], stage["report_to"] = None, []
        if precision is not None:
            stage["precision"] = precision
        if steps and stage["name"] in steps:
            stage.update(max_steps=steps[stage["name"]], epochs=None, max_minutes=None)
    asked = next(one for one in recipe["evaluation"] if one["name"] == evaluation)
    recipe["evaluation"] = [{**asked, "conditions": ["trained"], "data": "asked"}]
    recipe["data"]["asked"] = _on_fold(recipe["data"][asked["data"]], fold, draw, questions)
    recipe["report"] = {"gallery": 0}
    setting = {"factor": factor, **(settings or {})}
    return Cell(arm.name, role, recipe["seed"], draw, plain(load(recipe)), evaluation, setting, arm.probe)


def _scaled(rate: Any, factor: float) -> Any:
    if isinstance(rate, Mapping):
        return {name: value * factor for name, value in rate.items()}
    return rate * factor


def _on_fold(data: Mapping[str, Any], fold: Fold, draw: int, questions: int | None) -> dict[str, Any]:
    """The questions of a fold. Scenes and the like are drawn anew for each draw; a file's are what they are."""
    found = dict(data)
    if found["kind"] in DRAWN:
        found["fold"] = fold
        if found.get("seed") is None:
            found["seed"] = draw
        if fold == "development" and found.get("names") == "held-out":
            found["names"] = "development"
        if questions is not None:
            found["n"] = min(found["n"], questions)
        return found
    if found.get("fold") is not None:
        found["fold"] = fold
    elif fold == "development":
        raise ValueError(
            "the questions are one file without folds, so that tuning would be done on what is reported; give them "
            "with fold: test"
        )
    return found


def evaluation_of(recipe: Mapping[str, Any], name: str | None = None) -> str:
    """The evaluation that gives the score: ``name``, or the recipe's first. ValueError if there is none."""
    names = [one["name"] for one in recipe.get("evaluation", ())]
    if not names:
        raise ValueError(f"the recipe {recipe.get('name')!r} has no evaluation, so nothing could be compared")
    if name is not None and name not in names:
        raise ValueError(
            f"the recipe {recipe.get('name')!r} has no evaluation {name!r}; it has {', '.join(names)}"
        )
    return name or names[0]
