"""The training half of a run: build the model, take it through its stages, save it."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.sources import set_aside_of
from vitrail.recipes import assembly
from vitrail.recipes.datasets import EncodedRecords
from vitrail.recipes.schema import File, Recipe
from vitrail.recipes.sources import open_data
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

    if is_trained(run):
        return load(run.model_path)
    bundle = assembly.build(recipe.model, seed=recipe.seed)
    _check_parts(recipe, bundle)
    if tower_stays(recipe) and takes_features(bundle):
        use_features(bundle)
    types = {id(parameter): parameter.dtype for parameter in bundle.model.parameters()}
    datasets: dict[str, EncodedRecords] = {}
    for stage in recipe.stages:
        if stage.data not in datasets:
            datasets[stage.data] = _encoded(recipe, stage.data, bundle, progress)
        _train(bundle, datasets[stage.data], stage, run.stage(stage.name), recipe.seed, progress, device)
    _finish(recipe, bundle, types, run, progress)
    return bundle


def _finish(
    recipe: Recipe, bundle: Bundle, types: dict[int, Any], run: RunFolder, progress: Progress
) -> None:
    """Fold in adapters, put every weight back into its own type, and save."""
    bundle.model.requires_grad_(False)
    for parameter in bundle.model.parameters():  # what trained is float32
        parameter.data = parameter.data.to(types[id(parameter)])
    if recipe.model.lora is not None:
        from vitrail.recipes.adapters import merge_lora, save_adapter

        if recipe.model.lora.save == "both":
            save_adapter(
                bundle.model, recipe.model.lora, recipe.model.path or recipe.name, run.path / ADAPTER
            )
        progress.note(merge_lora(bundle.model).sentence())
    bundle.save(run.model_path)


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
    data = recipe.data[name]
    source = open_data(recipe, name, "conversations")
    progress.note(f"{name}: reading {len(source):,} records")
    if set_aside_of(source).rows:
        progress.note(f"{name}: {set_aside_of(source).sentence()}")
    report = _every_few_seconds(progress, name)
    if bundle.family.kind == "dual encoder":
        from vitrail.recipes.dual_encoders import PairRecords

        on_error = data.on_error if isinstance(data, File) else "raise"
        records: Any = PairRecords(source, bundle.encoder, on_error, report)  # type: ignore[arg-type]
    elif isinstance(data, File):
        records = EncodedRecords(
            source,
            bundle.encoder,
            data.on_error,
            report,
            too_long=data.too_long,
            max_length=data.max_length,
        )
    else:
        records = EncodedRecords(source, bundle.encoder, progress=report)
    note = f"{name}: {len(records):,} records, {sum(records.lengths):,} tokens"
    if records.sentence():
        note += f"; {records.sentence()}"
    progress.note(note)
    prepare_pictures(bundle, records.pictures(), name, progress)
    return records


def _train(
    bundle: Bundle,
    records: EncodedRecords,
    stage: StageConfig,
    folder: Path,
    seed: int,
    progress: Progress,
    device: str,
) -> None:
    from vitrail.training.trainer import train_stage

    stage, asked = stage.fitted(len(records), int(os.environ.get("WORLD_SIZE", "1"))), stage
    if stage != asked:
        progress.note(
            f"{stage.name}: {len(records):,} records are fewer than the {asked.records_a_step:,} of a step; batch_size "
            f"is {stage.batch_size} and accumulation {stage.accumulation} here"
        )
    result = train_stage(
        bundle.model,
        records,  # type: ignore[arg-type]
        bundle.collator("right"),
        build_objective(stage, bundle),
        stage,
        folder,
        progress=progress,
        seed=seed,
        fingerprint=records.fingerprint,
        device=device,
    )
    said = "was finished already" if result.already_done else f"done in {result.seconds:.0f} s"
    progress.note(f"{stage.name}: {said}, {result.steps:,} steps, loss {result.loss:.4f}")


def build_objective(stage: StageConfig, bundle: Bundle) -> Any:
    """The stage's objective, given by keyword whatever of the bundle its constructor asks for."""
    from vitrail import registry

    component = registry.get("objective", stage.objective.name)
    offered = {
        "bundle": bundle,
        "model": bundle.model,
        "tokenizer": bundle.tokenizer,
        "encoder": bundle.encoder,
    }
    asked = inspect.signature(component.__init__).parameters
    return stage.objective.build(**{name: part for name, part in offered.items() if name in asked})


def stage_results(recipe: Recipe, run: RunFolder) -> dict[str, dict[str, Any]]:
    """What each finished stage wrote about itself: its plan and its result."""
    found = {}
    for stage in recipe.stages:
        folder = run.stage(stage.name)
        read = [folder / name for name in ("plan.json", "done.json")]
        if all(path.exists() for path in read):
            plan, done = (json.loads(path.read_text(encoding="utf-8")) for path in read)
            found[stage.name] = {"plan": plan, **done}
    return found
