"""The data of a recipe as the stages of a run read it: encoded once, prepared before where it was, features cached."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vitrail.data.sources import set_aside_of
from vitrail.recipes.datasets import EncodedRecords
from vitrail.recipes.mixing import MixedRecords, is_mixture
from vitrail.recipes.objectives import wants_preferences
from vitrail.recipes.prepared import FOLDER, MANIFEST, Prepared, processor_fingerprint
from vitrail.recipes.schema import File, Recipe
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import origin

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.storage.runs import RunFolder
    from vitrail.training.progress import Progress


class Datasets:
    """The encoded records of a recipe's data by name, each read when it is first asked for.

    ``preparing``: what is encoded is kept in the run's folder. Otherwise it is read from there where it was prepared.
    """

    def __init__(
        self, recipe: Recipe, bundle: Bundle, run: RunFolder, progress: Progress, preparing: bool = False
    ) -> None:
        self.recipe, self.bundle, self.run, self.progress = recipe, bundle, run, progress
        self.preparing = preparing
        self._known: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        """The records of ``name``; of a mixture those of its leaves, numbered through."""
        if name not in self._known:
            if is_mixture(self.recipe.data[name]):
                self._known[name] = MixedRecords(self.recipe, name, self)
                self.progress.note(self._known[name].mixing.text())
            else:
                self._known[name] = _encoded(
                    self.recipe, name, self.bundle, self.progress, self.run, self.preparing
                )
        return self._known[name]

    def leaves(self) -> dict[str, Any]:
        """What has been read that is no mixture."""
        return {name: one for name, one in self._known.items() if not isinstance(one, MixedRecords)}


def _prepared(
    source: Any, bundle: Bundle, settings: dict[str, Any], run: RunFolder, name: str, preparing: bool
) -> Prepared | None:
    from vitrail.training import processes

    folder = run.path / FOLDER / name
    if not preparing and not (folder / MANIFEST).exists():
        return None
    made_from = {"settings": settings, "processor": processor_fingerprint(bundle)}
    return Prepared(folder, source, made_from, writes=processes.is_first())


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


def _encoded(
    recipe: Recipe, name: str, bundle: Bundle, progress: Progress, run: RunFolder, preparing: bool
) -> EncodedRecords:
    data = origin(recipe, name)
    source = open_data(recipe, name, "conversations")
    progress.note(f"{name}: reading {len(source):,} records")
    if set_aside_of(source).rows:
        progress.note(f"{name}: {set_aside_of(source).sentence()}")
    from vitrail.inference.inputs import context_length
    from vitrail.training import processes

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
    else:
        context, options = context_length(bundle.model), {}
        if isinstance(data, File):
            options = {"on_error": data.on_error, "too_long": data.too_long, "max_length": data.max_length}
        prepared = _prepared(source, bundle, {**options, "context": context}, run, name, preparing)
        records = EncodedRecords(
            source,
            bundle.encoder,
            progress=report,
            context=context,
            prepared=prepared,
            **options,  # type: ignore[arg-type]
        )
        if prepared is not None:
            kept = len(source) - prepared.computed
            progress.note(f"{name}: {kept:,} records were prepared before, {prepared.computed:,} now")
    if preparing and not isinstance(records, EncodedRecords):
        progress.note(f"{name}: pairs and preferences are not kept, but encoded when a stage begins")
    note = f"{name}: {len(records):,} records, {sum(records.lengths):,} tokens"
    if records.sentence():
        note += f"; {records.sentence()}"
    progress.note(note)
    with processes.first_before_others():
        prepare_pictures(bundle, records.pictures(), name, progress)
    return records
