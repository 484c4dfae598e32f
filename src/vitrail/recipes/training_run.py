"""The training half of a run: build the model, take it through its stages, save it."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import assembly
from vitrail.recipes.going_on import GoingOn
from vitrail.recipes.objectives import build_objective, wants_preferences
from vitrail.recipes.reading import Datasets
from vitrail.recipes.schema import Recipe
from vitrail.recipes.sentences import annotate
from vitrail.recipes.teachers import check_teachers, train_teachers
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.training.progress import Progress
    from vitrail.training.stages import StageConfig

ADAPTER = "adapter"
"""The folder in a run that holds the adapters in PEFT's format, where they are kept."""


def trained_model(recipe: Recipe, run: RunFolder, progress: Progress, device: str = "auto") -> Bundle:
    """The model after all stages, from ``run``'s folder where it is finished, trained otherwise.

    Finished stages are not run again, a broken-off one goes on. Adapters are folded in before the model is
    saved, so the saved one has no trace of them; weights are saved in the type they were loaded in. ValueError if a
    stage trains a part that the model does not have, or if adapters would be of no use.
    """
    from vitrail.models.loading import load
    from vitrail.training import processes, trunks

    if is_trained(run):
        return load(run.model_path)
    _check_deltas(recipe, progress)
    bundle = assembly.build(recipe.model, seed=recipe.seed)
    check_parts(recipe, bundle)
    check_teachers(recipe, bundle)
    if tower_stays(recipe) and takes_features(bundle):
        use_features(bundle)
    types = {id(parameter): parameter.dtype for parameter in bundle.model.parameters()}
    encoded = Datasets(recipe, bundle, run, progress)
    for stage in recipe.stages:
        going_on = GoingOn.of(recipe, stage, run, bundle, encoded)
        _train(recipe, bundle, encoded(stage.data), stage, run.stage(stage.name), progress, device, going_on)
    bundle = _finish(recipe, bundle, types, run, progress)
    if processes.is_first():
        for stage in recipe.stages:
            trunks.forget(run.stage(stage.name))
    return bundle


def _finish(
    recipe: Recipe, bundle: Bundle, types: dict[int, Any], run: RunFolder, progress: Progress
) -> Bundle:
    """Fold in adapters, put every weight back into its own type, add what is added at the end, and save.

    What was quantised is read once more as it was: adapters are folded into that. Of several processes the first saves.
    """
    from vitrail.training import processes

    ends = any(one.when == "end" for one in recipe.model.deltas)
    if recipe.model.quantization is not None:
        bundle = _unquantised(recipe, bundle, progress)
        types = {id(parameter): parameter.dtype for parameter in bundle.model.parameters()}
    bundle.model.requires_grad_(False)
    for parameter in bundle.model.parameters() if not ends else ():  # what trained is float32
        parameter.data = parameter.data.to(types[id(parameter)])
    if recipe.model.lora is not None:
        from vitrail.recipes.adapters import merge_lora, save_adapter

        if recipe.model.lora.save == "both" and processes.is_first():
            save_adapter(
                bundle.model, recipe.model.lora, recipe.model.path or recipe.name, run.path / ADAPTER
            )
        progress.note(merge_lora(bundle.model).sentence())
    if not processes.is_first():
        return bundle
    if ends:
        from vitrail.recipes.deltas import at_end

        kept = Counter(str(dtype).removeprefix("torch.") for dtype in types.values()).most_common(1)[0][0]
        return at_end(bundle, recipe.model.deltas, run.model_path, kept, progress)  # type: ignore[no-any-return]
    bundle.save(run.model_path)
    return bundle


def _unquantised(recipe: Recipe, bundle: Bundle, progress: Progress) -> Bundle:
    from vitrail.models.quantising import copy_unquantised

    progress.note("adapters are folded into the weights as they were before they were quantised")
    model = recipe.model.model_copy(update={"quantization": None})
    whole = assembly.build(model, seed=recipe.seed)
    copy_unquantised(bundle.model, whole.model)
    whole.vision = bundle.vision
    return whole


def _check_deltas(recipe: Recipe, progress: Progress) -> None:
    """What is added at the end, before the first stage has spent anything."""
    if not recipe.model.deltas:
        return
    from vitrail.recipes.deltas import check_end
    from vitrail.recipes.trained import resolved

    check_end(resolved(recipe.model, progress).path, recipe.model.deltas, progress)


def is_trained(run: RunFolder) -> bool:
    """Whether the trained model is there (its folder appears as a whole)."""
    return (run.model_path / "config.json").exists()


def check_parts(recipe: Recipe, bundle: Bundle) -> None:
    """Every stage's ``trains``, and whether adapters train, before the first stage has spent anything."""
    from vitrail.training.selection import select_parameters

    trained: set[str] = set()
    for position, stage in enumerate(recipe.stages):
        try:
            trained |= set(select_parameters(bundle.model, stage.trains).parameters)
        except ValueError as error:
            raise ValueError(f"stages.{position}: {error}") from None
    lora = recipe.model.lora
    if lora is None:
        return
    if not any("lora_" in name for name in trained):
        adapters = [f"{part}.lora" for part in lora.where]
        raise ValueError(f"model.lora: no stage trains the adapters; add {adapters[0]!r} to a stage's trains")
    others = sorted(name for name in trained if "lora_" not in name)
    if lora.save == "both" and others:
        raise ValueError(
            f"model.lora.save: stages also train {others[0]!r}, which an adapter's folder does not hold; train "
            "adapters alone, or use save: merged"
        )


def tower_stays(recipe: Recipe) -> bool:
    """Whether no stage changes the tower, or pictures in front of it, so that its features can be computed once.

    A dual encoder's ``vision.projection`` stands behind its tower.
    """
    if any(
        getattr(one.component(), "reads_pixels", False) for stage in recipe.stages for one in stage.objectives
    ):
        return False
    return not any(
        part != "vision.projection" and re.split(r"[.\[]", part)[0] in ("tower", "vision", "all")
        for stage in recipe.stages
        for part in stage.trains
    )


def takes_features(bundle: Bundle) -> bool:
    """Whether the model can be fed stored features of its tower (ours can; others are fed pixels)."""
    features = getattr(bundle.model, "get_image_features", None)
    return features is not None and "vision_features" in inspect.signature(features).parameters


def use_features(bundle: Bundle) -> None:
    """Feed the model stored features of its frozen tower instead of pixels."""
    from vitrail.models.frozen import FrozenTower

    bundle.vision = FrozenTower(bundle.model.tower.requires_grad_(False))


def _train(
    recipe: Recipe,
    bundle: Bundle,
    records: Any,
    stage: StageConfig,
    folder: Path,
    progress: Progress,
    device: str,
    going_on: GoingOn,
) -> None:
    from vitrail.training.trainer import train_stage

    objective, collator = build_objective(stage, bundle, recipe), bundle.collator("right")
    if wants_preferences(stage):
        from vitrail.models.preferences import PreferenceCollator

        collator = PreferenceCollator.of(collator)
    if not (folder / "done.json").exists():
        annotate(objective, collator, records, progress.note)
        train_teachers(recipe, stage, progress)
        for slot, teacher in enumerate(objective.teachers()):
            teacher.feed(collator, slot)

    stage, asked = stage.fitted(len(records), _processes_of(folder)), stage
    if stage != asked:
        progress.note(
            f"{stage.name}: {len(records):,} records are fewer than the {asked.records_a_step:,} of a step; batch_size "
            f"is {stage.batch_size} and accumulation {stage.accumulation} here"
        )
    result = train_stage(
        bundle.model,
        records,
        collator,
        objective,
        stage,
        folder,
        progress=progress,
        seed=recipe.seed,
        fingerprint=records.fingerprint,
        device=device,
        trunk=going_on.trunk,
        keeps_state=going_on.keeps_state,
        companions=going_on.companions,
    )
    said = "was finished already" if result.already_done else f"done in {result.seconds:.0f} s"
    progress.note(f"{stage.name}: {said}, {result.steps:,} steps, loss {result.loss:.4f}")


def _processes_of(folder: Path) -> int:
    """How many processes a stage was begun with; those that are here, if it was not begun."""
    from vitrail.training import processes
    from vitrail.training.planning import StagePlan

    begun = StagePlan.read(folder / "plan.json")
    return processes.count() if begun is None else begun.processes


def stage_results(recipe: Recipe, run: RunFolder) -> dict[str, dict[str, Any]]:
    """What each finished stage wrote about itself: its plan and its result; of a loop's stage in its last round."""
    found = {}
    for stage in recipe.stages:
        folder = run.stage_folders(stage.name)[-1]
        read = [folder / name for name in ("plan.json", "done.json")]
        if all(path.exists() for path in read):
            plan, done = (json.loads(path.read_text(encoding="utf-8")) for path in read)
            found[stage.name] = {"plan": plan, **done}
    return found
