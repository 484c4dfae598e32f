"""The teachers that a recipe's objectives name: found by path, or trained once by a recipe of their own and kept.

A trained teacher lies in the cache, ``teachers/<hash of its recipe>``, as a run folder: a killed one goes on, and
two processes that want the same one train it once. What it cost is in its own run, never in the student's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import loading, trained
from vitrail.recipes.schema import Recipe

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.objectives.teacher import Teacher, TeacherConfig
    from vitrail.training.progress import Progress
    from vitrail.training.stages import StageConfig


def named(stage: StageConfig) -> list[TeacherConfig]:
    """The teachers that a stage's objectives name and ask."""
    found = [getattr(one.config, "teacher", None) for one in stage.objectives]
    return [teacher for teacher in found if teacher is not None]


def teacher_of(config: TeacherConfig, recipe: Recipe, student: Bundle) -> Teacher:
    """The teacher, loaded when it is first asked. One that is not trained yet is trained then."""
    from vitrail.models.loading import load
    from vitrail.objectives.teacher import Teacher

    def opened() -> Bundle:
        import torch

        dtype = None if config.dtype == "auto" else getattr(torch, config.dtype)
        return load(place_of(config, recipe), dtype=dtype)

    return Teacher(opened, student, config.path or "of this recipe")


def place_of(config: TeacherConfig, recipe: Recipe, progress: Progress | None = None) -> str:
    """The folder or hub name of a teacher; one that has a recipe is trained now if it was not.

    ValueError where several processes would have to train it.
    """
    if config.path is not None:
        return config.path
    return trained.place_of(recipe_of(config, recipe), "teacher", progress)


def folder_of(recipe: Recipe) -> Path:
    """Where a teacher's run is kept."""
    return trained.folder_of(recipe, "teacher")


def recipe_of(config: TeacherConfig, student: Recipe) -> Recipe:
    """The recipe that trains a teacher. ValueError (RecipeError) where it is none, or names a teacher itself."""
    if config.times is not None:
        return own_recipe(student, config.times)
    assert config.recipe is not None
    found = loading.load(config.recipe)
    if any(named(stage) for stage in found.stages):
        raise ValueError(
            f"teacher: the recipe {found.name!r} names a teacher itself; run it, and give its run as path"
        )
    if not found.stages:
        raise ValueError(f"teacher: the recipe {found.name!r} has no stages; give the model itself as path")
    return loading.load({**loading.plain(found), "evaluation": []})


def own_recipe(student: Recipe, times: float) -> Recipe:
    """The student's recipe without teachers and evaluation, its budgets ``times`` as long, drawn with seed 0.

    The seed is fixed so that repetitions of a run with other seeds have one teacher.
    """
    plain = loading.plain(student)
    stages = [_longer(dict(stage), times) for stage in plain["stages"]]
    for stage, checked in zip(stages, student.stages, strict=True):
        if named(checked):
            stage["objective"] = _without_teachers(checked)
    fields = {"name": f"{student.name}-teacher"[:80], "seed": 0, "stages": stages, "evaluation": []}
    return loading.load({**plain, **fields})


def _longer(stage: dict[str, Any], times: float) -> dict[str, Any]:
    if stage.get("max_steps") is not None:
        stage["max_steps"] = max(round(stage["max_steps"] * times), 1)
        if stage.get("warmup", 0) >= stage["max_steps"]:
            stage["warmup"] = 0.1
    for name in ("epochs", "max_minutes"):
        if stage.get(name) is not None:
            stage[name] = stage[name] * times
    return stage


def _without_teachers(stage: StageConfig) -> Any:
    kept = [one for one in stage.objectives if getattr(one.config, "teacher", None) is None]
    return [loading.plain(one) for one in kept] if any(one.factor for one in kept) else "next_token"


def check_teachers(recipe: Recipe, student: Bundle) -> None:
    """Before anything is spent: every teacher reads as the student does. ValueError names stage and reason.

    A teacher by path is looked at without its weights; one by recipe is compared when it is there.
    """
    for position, stage in enumerate(recipe.stages):
        for teacher in named(stage):
            try:
                if teacher.path is not None:
                    _check_path(teacher.path, student)
                else:
                    recipe_of(teacher, recipe)
            except ValueError as error:
                raise ValueError(f"stages.{position}.objective.teacher: {error}") from None


def _check_path(path: str, student: Bundle) -> None:
    from vitrail.models.bundle import encoder_of
    from vitrail.models.families.table import family_of
    from vitrail.models.folders import load_processor
    from vitrail.models.loading import load_config, model_source
    from vitrail.objectives.alignment import Reader, align

    source = model_source(path)
    config = load_config(source)
    family = family_of(config)
    if family.kind not in ("multimodal", "language"):
        raise ValueError(f"{path} is {family.about}, which predicts no words; a teacher is a language model")
    align(Reader.of(student.encoder), Reader.of(encoder_of(family, load_processor(source, family), config)))


def train_teachers(recipe: Recipe, stage: StageConfig, progress: Progress) -> None:
    """Train the teachers of a stage that have a recipe and are not there yet."""
    for teacher in named(stage):
        place_of(teacher, recipe, progress)


def shares(stage: StageConfig, steps: int | None) -> list[tuple[TeacherConfig, float]]:
    """Each teacher of a stage with the share of its steps that it runs in."""
    found = []
    for one in stage.objectives:
        config = one.config
        teacher = getattr(config, "teacher", None)
        if teacher is not None:
            n_kd = getattr(config, "n_kd", None)
            share = 1.0 if n_kd is None else n_kd if n_kd < 1 else min(n_kd / steps, 1.0) if steps else 1.0
            found.append((teacher, share))
    return found


def model_of(config: TeacherConfig, recipe: Recipe) -> Mapping[str, Any]:
    """The ``model`` section that describes a teacher, for its shapes."""
    if config.path is not None:
        return {"path": config.path, "dtype": config.dtype}
    return dict(loading.plain(recipe_of(config, recipe).model))
