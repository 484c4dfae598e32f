"""The training half of a run: build the model, take it through its stages, save it."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.sources import set_aside_of
from vitrail.recipes import assembly
from vitrail.recipes.datasets import EncodedRecords
from vitrail.recipes.going_on import GoingOn
from vitrail.recipes.mixing import MixedRecords, is_mixture
from vitrail.recipes.objectives import build_objective, wants_preferences
from vitrail.recipes.schema import File, Recipe
from vitrail.recipes.sentences import annotate
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import origin
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
    from vitrail.training import trunks

    if is_trained(run):
        return load(run.model_path)
    _check_deltas(recipe, progress)
    bundle = assembly.build(recipe.model, seed=recipe.seed)
    _check_parts(recipe, bundle)
    check_teachers(recipe, bundle)
    if tower_stays(recipe) and takes_features(bundle):
        use_features(bundle)
    types = {id(parameter): parameter.dtype for parameter in bundle.model.parameters()}
    datasets: dict[str, Any] = {}

    def encoded(name: str) -> Any:
        if name not in datasets:
            mixed = is_mixture(recipe.data[name])
            datasets[name] = (
                MixedRecords(recipe, name, encoded) if mixed else _encoded(recipe, name, bundle, progress)
            )
            if mixed:
                progress.note(datasets[name].mixing.text())
        return datasets[name]

    for stage in recipe.stages:
        going_on = GoingOn.of(recipe, stage, run, bundle, encoded)
        _train(recipe, bundle, encoded(stage.data), stage, run.stage(stage.name), progress, device, going_on)
    bundle = _finish(recipe, bundle, types, run, progress)
    for stage in recipe.stages:
        trunks.forget(run.stage(stage.name))
    return bundle


def _finish(
    recipe: Recipe, bundle: Bundle, types: dict[int, Any], run: RunFolder, progress: Progress
) -> Bundle:
    """Fold in adapters, put every weight back into its own type, add what is added at the end, and save."""
    ends = any(one.when == "end" for one in recipe.model.deltas)
    bundle.model.requires_grad_(False)
    for parameter in bundle.model.parameters() if not ends else ():  # what trained is float32
        parameter.data = parameter.data.to(types[id(parameter)])
    if recipe.model.lora is not None:
        from vitrail.recipes.adapters import merge_lora, save_adapter

        if recipe.model.lora.save == "both":
            save_adapter(
                bundle.model, recipe.model.lora, recipe.model.path or recipe.name, run.path / ADAPTER
            )
        progress.note(merge_lora(bundle.model).sentence())
    if ends:
        from vitrail.recipes.deltas import at_end

        kept = Counter(str(dtype).removeprefix("torch.") for dtype in types.values()).most_common(1)[0][0]
        return at_end(bundle, recipe.model.deltas, run.model_path, kept, progress)  # type: ignore[no-any-return]
    bundle.save(run.model_path)
    return bundle


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


def _check_parts(recipe: Recipe, bundle: Bundle) -> None:
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
    """Whether no stage changes the tower, so that its features can be computed once.

    A dual encoder's ``vision.projection`` stands behind its tower.
    """
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


def prepare_pictures(bundle: Bundle, pictures: list[Any], what: str, progress: Progress) -> None:
    """Compute the features of ``pictures`` now, where the model is fed features; a line says how many."""
    prepare = getattr(bundle.vision, "prepare", None)
    if prepare is None or not pictures:
        return
    progress.note(f"{what}: features of {len(pictures):,} pictures from the frozen tower")
    fresh = prepare(pictures, _every_few_seconds(progress, f"{what}: features"))
    progress.note(f"{what}: {fresh:,} computed, {len(pictures) - fresh:,} from the cache")


def _every_few_seconds(progress: Progress, what: str, seconds: float = 5.0) -> Callable[[int, int], None]:
    """A counter for long work that leaves a line only now and then."""
    last = time.monotonic()

    def report(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            progress.note(f"{what}: {done:,} of {of:,}")

    return report


def _encoded(recipe: Recipe, name: str, bundle: Bundle, progress: Progress) -> EncodedRecords:
    data = origin(recipe, name)
    source = open_data(recipe, name, "conversations")
    progress.note(f"{name}: reading {len(source):,} records")
    if set_aside_of(source).rows:
        progress.note(f"{name}: {set_aside_of(source).sentence()}")
    from vitrail.inference.inputs import context_length

    report = _every_few_seconds(progress, name)
    if bundle.family.kind == "dual encoder":
        from vitrail.recipes.dual_encoders import PairRecords

        on_error = data.on_error if isinstance(data, File) else "raise"
        records: Any = PairRecords(source, bundle.encoder, on_error, report)  # type: ignore[arg-type]
    elif bundle.family.kind == "encoder":
        from vitrail.recipes.sentences import SentenceRecords

        on_error = data.on_error if isinstance(data, File) else "raise"
        records = SentenceRecords(source, bundle.encoder, on_error, report)  # type: ignore[arg-type]
    elif any(wants_preferences(stage) for stage in recipe.stages if stage.data == name):
        from vitrail.recipes.preferences import PreferenceRecords

        on_error = data.on_error if isinstance(data, File) else "raise"
        longest = data.max_length if isinstance(data, File) else None
        records = PreferenceRecords(
            source,
            bundle.encoder,
            on_error,  # type: ignore[arg-type]
            report,
            max_length=longest or context_length(bundle.model),
        )
    elif isinstance(data, File):
        records = EncodedRecords(
            source,
            bundle.encoder,
            data.on_error,
            report,
            too_long=data.too_long,
            max_length=data.max_length,
            context=context_length(bundle.model),
        )
    else:
        records = EncodedRecords(
            source, bundle.encoder, progress=report, context=context_length(bundle.model)
        )
    note = f"{name}: {len(records):,} records, {sum(records.lengths):,} tokens"
    if records.sentence():
        note += f"; {records.sentence()}"
    progress.note(note)
    prepare_pictures(bundle, records.pictures(), name, progress)
    return records


def _train(
    recipe: Recipe,
    bundle: Bundle,
    records: EncodedRecords,
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

    stage, asked = stage.fitted(len(records), int(os.environ.get("WORLD_SIZE", "1"))), stage
    if stage != asked:
        progress.note(
            f"{stage.name}: {len(records):,} records are fewer than the {asked.records_a_step:,} of a step; batch_size "
            f"is {stage.batch_size} and accumulation {stage.accumulation} here"
        )
    result = train_stage(
        bundle.model,
        records,  # type: ignore[arg-type]
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
