"""From an arm to the recipe of one cell: seed, scenes, learning rate, steps, and the fold that it is measured on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from vitrail.recipes import overrides
from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, leaves
from vitrail.studies.cells import Cell, Role
from vitrail.studies.trainings import identity

Fold = Literal["development", "test"]
TUNING_DRAW = 900_001
"""Scenes that tuning is done on; no result is ever measured on them (another fold, and another draw)."""
DRAWN = (
    "scenes",
    "scene_texts",
    "puzzle",
    "translations",
    "facts",
    "composed",
    "named_things",
    "episodes",
    "demonstrated",
)
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
    shares: bool = False,
) -> Cell:
    """One cell of ``arm``. ``factor`` scales the learning rates that are tuned, ``settings`` are values of its grid,
    ``steps`` how long each stage is (default: as in the recipe), ``questions`` how many are asked at most; ``shares``:
    whether its training is kept for cells that train alike.
    """
    recipe, _ = overrides.apply(plain(load(arm.recipe)), dict(settings or {}))
    recipe = copy.deepcopy(recipe)
    recipe["seed"] = draw if seed is None else seed
    for name in {leaf for stage in recipe["stages"] for leaf in leaves(recipe["data"], stage["data"])}:
        _draw_anew(recipe["data"][name], draw)
    for stage in recipe["stages"]:
        if arm.tuned is None or stage["name"] in arm.tuned:
            stage["learning_rate"] = _scaled(stage["learning_rate"], factor)
        stage["checkpoint_minutes"], stage["report_to"] = None, []
        if precision is not None:
            stage["precision"] = precision
        if steps and stage["name"] in steps:
            stage.update(max_steps=steps[stage["name"]], epochs=None, max_minutes=None)
    asked = next(one for one in recipe["evaluation"] if one["name"] == evaluation)
    recipe["evaluation"] = [{**asked, "conditions": ["trained"], "data": "asked"}]
    _ask(recipe["data"], "asked", asked["data"], fold, draw, questions)
    recipe["report"] = {"gallery": 0}
    setting = {"factor": factor, **(settings or {})}
    whole = plain(load(recipe))
    training = identity(whole) if shares else None
    return Cell(arm.name, role, recipe["seed"], draw, whole, evaluation, setting, arm.probe, training)


def _scaled(rate: Any, factor: float) -> Any:
    if isinstance(rate, Mapping):
        return {name: value * factor for name, value in rate.items()}
    return rate * factor


def asks_anew(data: Mapping[str, Any], name: str) -> bool:
    """Whether every draw asks questions of its own, or all the same ones (those of a file, or of a seed that is given).

    ValueError for a mixture of both.
    """
    found = {data[leaf]["kind"] in DRAWN and data[leaf].get("seed") is None for leaf in leaves(data, name)}
    if len(found) > 1:
        raise ValueError(
            f"data.{name}: some of its sources are the same for all seeds and some are drawn anew; give seeds to all "
            "of them, or to none"
        )
    return found == {True}


def _draw_anew(data: dict[str, Any], draw: int) -> None:
    if data["kind"] in DRAWN and data.get("seed") is None:
        data["seed"] = draw


def _ask(data: dict[str, Any], name: str, origin: str, fold: Fold, draw: int, questions: int | None) -> None:
    """Put the questions of a fold into ``data`` as ``name``; those of a mixture's sources beside them."""
    found = dict(data[origin])
    data[name] = found
    if found["kind"] == "mixture":
        each = None if questions is None else -(-questions // len(found["sources"]))
        for leaf in found["sources"]:
            _ask(data, f"{name}-{leaf}", leaf, fold, draw, each)
        found["sources"] = {f"{name}-{leaf}": share for leaf, share in found["sources"].items()}
    elif found["kind"] != "file" or found.get("fold") is not None:
        found["fold"] = fold
        _draw_anew(found, draw)
    elif fold == "development":
        raise ValueError(
            "the questions are one file without folds, so that tuning would be done on what is reported; give them "
            "with fold: test"
        )
    if fold == "development" and found.get("names") == "held-out":
        found["names"] = "development"
    if questions is not None and found["kind"] != "file" and found.get("n") is not None:
        found["n"] = min(found["n"], questions)


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
