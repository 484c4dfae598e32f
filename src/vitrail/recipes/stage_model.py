"""The model as a stage of a finished run left it, for what is measured in the middle of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrail.recipes import assembly, loading
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


def model_after(run: RunFolder, stage: str) -> Bundle:
    """The model of ``run`` after ``stage``: built as the run built it, with what each stage up to then trained.

    Adapters are still beside the weights they change. ValueError for a stage that the run's recipe does not have, or
    whose weights are not there (not finished, or removed).
    """
    from vitrail.training import checkpoints
    from vitrail.training.selection import select_parameters

    recipe = loading.load(run.recipe())
    names = [one.name for one in recipe.stages]
    if stage not in names:
        raise ValueError(f"{run.path} has no stage {stage!r}; it has {', '.join(names) or 'none'}")
    bundle = assembly.build(recipe.model, seed=recipe.seed)
    for one in recipe.stages[: names.index(stage) + 1]:
        weights = run.stage(one.name) / "final.safetensors"
        if not weights.exists():
            raise ValueError(
                f"{weights} is not there: stage {one.name!r} has to be finished, and its weights kept"
            )
        selection = select_parameters(bundle.model, one.trains)
        for name, parameter in bundle.model.named_parameters():
            if name in selection.parameters and parameter.is_floating_point():
                parameter.data = parameter.data.float()
        checkpoints.load_trained(weights, bundle.model, selection)
    bundle.model.requires_grad_(False)
    bundle.model.eval()
    bundle.name = f"{recipe.name} after {stage}"
    return bundle
