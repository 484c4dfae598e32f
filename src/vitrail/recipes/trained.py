"""Models that a recipe names by another recipe: trained once, kept in the cache by content.

A run lies in the cache under a hash of everything in its recipe that its weights depend on; a killed one goes on, and
two processes that want the same one train it once. What it cost is in its own run.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.recipes import loading

if TYPE_CHECKING:
    from vitrail.recipes.schema import Model, Recipe
    from vitrail.training.progress import Progress

_APART = ("name", "about", "report", "evaluation")


class Origin(BaseModel):
    """A model by ``path`` (a folder, a run's, or a hub name), or by a ``recipe`` that is run once."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str | None = Field(default=None, min_length=1)
    recipe: str | dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Origin:
        if (self.path is None) == (self.recipe is None):
            found = "none" if self.path is None else "both"
            raise ValueError(
                f"a model is named by path or by recipe, and here is {found}; give one of the two"
            )
        return self

    def place(self, progress: Progress | None = None) -> str:
        """Its folder or hub name; trained now, where it has a recipe that was not run."""
        if self.path is not None:
            return self.path
        assert self.recipe is not None
        return place_of(recipe_of(self.recipe), "model", progress)


def recipe_of(given: Any, what: str = "model.recipe") -> Recipe:
    """The recipe without its evaluation. ValueError for one without stages."""
    found = loading.load(given)
    if not found.stages:
        raise ValueError(f"{what}: the recipe {found.name!r} has no stages; give the model itself as path")
    return loading.load({**loading.plain(found), "evaluation": []})


def folder_of(recipe: Recipe, what: str) -> Path:
    """Where the run is kept: by everything in its recipe that its weights depend on."""
    from vitrail.storage.cache import default_root, key

    told = {name: value for name, value in loading.plain(recipe).items() if name not in _APART}
    return default_root() / f"{what}s" / key(what, told)[:16]


def place_of(recipe: Recipe, what: str, progress: Progress | None = None) -> str:
    """The folder of the recipe's run, trained now if it was not; ``what`` it is, for messages and the folder.

    ValueError where several processes would have to train it.
    """
    folder = folder_of(recipe, what)
    from vitrail.recipes.run import run
    from vitrail.recipes.training_run import is_trained
    from vitrail.storage.lock import Locked
    from vitrail.storage.runs import RunFolder

    if is_trained(RunFolder(folder)):
        return str(folder)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            f"the {what}'s recipe has not been run, and several processes cannot do so together; run it first (vitrail "
            f"train), and name its run as the {what}'s path"
        )
    if progress is not None:
        progress.note(f"{what}: training it once by {recipe.name}, kept in {folder}")
    while not is_trained(RunFolder(folder)):
        try:
            run(recipe, folder, report=False)
        except Locked:  # another process trains it
            time.sleep(2.0)
    return str(folder)


def resolved(model: Model, progress: Progress | None = None) -> Model:
    """The model with a ``path`` in place of ``recipe``, and with what is added at the start added."""
    if model.recipe is not None:
        place = place_of(recipe_of(model.recipe), "model", progress)
        model = model.model_copy(update={"path": place, "recipe": None})
    if any(one.when == "start" for one in model.deltas):
        from vitrail.recipes.deltas import at_start

        assert model.path is not None
        later = tuple(one for one in model.deltas if one.when == "end")
        place = at_start(model.path, model.deltas, progress)
        model = model.model_copy(update={"path": place, "deltas": later})
    return model


def outlined(model: Model) -> Model:
    """What tells the model's shapes: nothing is trained or added."""
    while model.recipe is not None:
        inner = recipe_of(model.recipe).model
        kept = {"surgeries": (*inner.surgeries, *model.surgeries), "lora": model.lora}
        kept |= {
            name: getattr(model, name) for name in ("dtype", "image") if getattr(model, name) is not None
        }
        model = inner.model_copy(update=kept)
    return model.model_copy(update={"deltas": ()})
