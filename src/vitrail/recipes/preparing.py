"""``vitrail prepare``: everything of a recipe's data that does not depend on training, before it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import loading
from vitrail.recipes.mixing import names_read
from vitrail.recipes.schema import Recipe
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.training.progress import Progress


def prepare(recipe: Recipe, folder: Path | str, progress: Progress | None = None) -> dict[str, Any]:
    """Encode what the stages of ``recipe`` read, and compute features of frozen towers; ``vitrail.train`` goes on here.

    Returns by name of the data what became of its records. Killed, it goes on where it was. ValueError for another
    recipe's folder, or data that changed since.
    """
    from vitrail.recipes import assembly
    from vitrail.recipes.reading import Datasets
    from vitrail.recipes.training_run import check_parts, takes_features, tower_stays, use_features
    from vitrail.training.progress import QuietProgress

    listener = progress if progress is not None else QuietProgress()
    place = RunFolder(folder)
    with place.writing(loading.plain(recipe), lambda stored: loading.plain(loading.load(stored))) as opened:
        bundle = assembly.build(recipe.model, seed=recipe.seed)
        check_parts(recipe, bundle)
        if tower_stays(recipe) and takes_features(bundle):
            use_features(bundle)
        datasets = Datasets(recipe, bundle, opened, listener, preparing=True)
        for stage in recipe.stages:
            for name in dict.fromkeys([stage.data, *names_read(recipe, stage)]):
                datasets(name)
        return {name: records.counts for name, records in datasets.leaves().items()}
