"""The training half of a run: build the model, take it through its stages, save it."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import assembly
from vitrail.recipes.datasets import EncodedRecords
from vitrail.recipes.schema import File, Recipe
from vitrail.recipes.sources import open_data
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.training.progress import Progress
    from vitrail.training.stages import StageConfig


def trained_model(recipe: Recipe, run: RunFolder, progress: Progress, device: str = "auto") -> Bundle:
    """The model after all stages, from ``run``'s folder where it is finished, trained otherwise.

    Finished stages are not run again, a broken-off one goes on. Adapters are folded in before the model is
    saved, so the saved one has no trace of them. ValueError if a stage trains a part that the model does not
    have.
    """
    from vitrail.models.loading import load

    if is_trained(run):
        return load(run.model_path)
    bundle = assembly.build(recipe.model, seed=recipe.seed)
    _check_parts(recipe, bundle)
    if tower_stays(recipe):
        use_features(bundle)
    datasets: dict[str, EncodedRecords] = {}
    for stage in recipe.stages:
        if stage.data not in datasets:
            datasets[stage.data] = _encoded(recipe, stage.data, bundle, progress)
        _train(bundle, datasets[stage.data], stage, run.stage(stage.name), recipe.seed, progress, device)
    bundle.model.requires_grad_(False)
    assembly.merge_lora(bundle.model)
    bundle.save(run.model_path)
    return bundle


def is_trained(run: RunFolder) -> bool:
    """Whether the trained model is there (its folder appears as a whole)."""
    return (run.model_path / "config.json").exists()


def _check_parts(recipe: Recipe, bundle: Bundle) -> None:
    """Every stage's ``trains``, before the first stage has spent anything."""
    from vitrail.training.selection import select_parameters

    for position, stage in enumerate(recipe.stages):
        try:
            select_parameters(bundle.model, stage.trains)
        except ValueError as error:
            raise ValueError(f"stages.{position}: {error}") from None


def tower_stays(recipe: Recipe) -> bool:
    """Whether no stage changes the tower, so that its features can be computed once."""
    return not any(
        part.partition(".")[0] in ("tower", "all") for stage in recipe.stages for part in stage.trains
    )


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
    policy = data.on_error if isinstance(data, File) else "raise"
    progress.note(f"{name}: reading {len(source):,} records")
    records = EncodedRecords(source, bundle.encoder, policy, _every_few_seconds(progress, name))
    note = f"{name}: {len(records):,} records, {sum(records.lengths):,} tokens"
    if records.set_aside:
        number, reason = next(iter(records.set_aside.items()))
        note += f"; {len(records.set_aside):,} set aside (record {number}: {reason})"
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
