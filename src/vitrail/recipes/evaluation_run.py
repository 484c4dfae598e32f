"""The evaluation half of a run: every task under every condition, and the pictures that the report shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.data.demonstrations import pictures_apart
from vitrail.evaluation.answers import Answers, read_answers
from vitrail.evaluation.calibration import confidence
from vitrail.evaluation.question_cards import GALLERY
from vitrail.evaluation.run import run_task
from vitrail.evaluation.scores import Scores, score
from vitrail.recipes import assembly
from vitrail.recipes.reading import prepare_pictures
from vitrail.recipes.schema import Evaluation, Recipe
from vitrail.recipes.sources import open_data
from vitrail.recipes.training_run import takes_features, tower_stays, use_features
from vitrail.storage.atomic import write_json
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.training.progress import Progress

EVERY_SECONDS = 10.0


def evaluate(
    recipe: Recipe,
    run: RunFolder,
    progress: Progress,
    trained: Callable[[], Bundle],
    device: str = "auto",
) -> dict[str, dict[str, Scores]]:
    """Ask every question that is not answered yet; the scores by task and condition.

    ``trained`` gives the trained model when it is needed. What is complete costs neither a model nor a
    question.
    """
    models = Models(recipe, trained, device)
    found: dict[str, dict[str, Scores]] = {}
    for position, evaluation in enumerate(recipe.evaluation):
        try:
            found[evaluation.name] = _evaluate(recipe, evaluation, run, models, progress)
        except ValueError as error:
            raise ValueError(f"evaluation.{position} ({evaluation.name}): {error}") from None
    return found


class Models:
    """The trained and the untrained model, each made once, when first asked for; one at a time is on the device."""

    def __init__(self, recipe: Recipe, trained: Callable[[], Bundle], device: str = "auto") -> None:
        self.recipe, self._trained, self._device = recipe, trained, device
        self._made: dict[str, Bundle] = {}

    def get(self, condition: str) -> Bundle:
        """The model of a condition. A frozen tower is shared, and so are its stored features."""
        name = "untrained" if condition == "untrained" else "trained"
        if name not in self._made:
            bundle = self._trained() if name == "trained" else self._untrained()
            if tower_stays(self.recipe) and takes_features(bundle):
                others = [other for other in self._made.values() if hasattr(other.vision, "prepare")]
                if others:
                    bundle.vision = others[0].vision
                elif not hasattr(bundle.vision, "prepare"):
                    use_features(bundle)
            bundle.name = f"{self.recipe.name} {name}"
            self._made[name] = bundle
        for other, bundle in self._made.items():
            if other != name:
                assembly.place(bundle, "cpu")  # two large models need not fit at once
        return assembly.place(self._made[name], self._device)

    def _untrained(self) -> Bundle:
        """The model before its first stage; adapters would add nothing yet."""
        model = self.recipe.model.model_copy(update={"lora": None, "quantization": None})
        return assembly.build(model, self.recipe.seed)


def _evaluate(
    recipe: Recipe, evaluation: Evaluation, run: RunFolder, models: Models, progress: Progress
) -> dict[str, Scores]:
    conditions = recipe.conditions_of(evaluation)
    folder = run.evaluation(evaluation.name)
    paths = {condition: folder / f"{condition}.jsonl" for condition in conditions}
    open_ones = [name for name, path in paths.items() if not (path.exists() and read_answers(path).complete)]
    if open_ones or not (folder / GALLERY).exists():
        source = question_source(recipe, evaluation)
        for condition in open_ones:
            _ask(evaluation, models.get(condition), folder.parent, condition, source, progress)
        write_gallery(source, paths[conditions[0]], folder / GALLERY, recipe.report.gallery)
    scores: dict[str, Scores] = {condition: score(path) for condition, path in paths.items()}
    write_json(folder / "scores.json", {name: one.as_json() for name, one in scores.items()})
    return scores


def question_source(recipe: Recipe, evaluation: Evaluation) -> Any:
    """What an evaluation asks: the questions of its data, or its pairs as retrieval among all their texts."""
    chosen = evaluation.inferencer
    if chosen.name == "similarity" and chosen.settings.get("among") == "all":
        from vitrail.evaluation.similarity import EveryText

        return EveryText(open_data(recipe, evaluation.data, "conversations"))
    if chosen.name == "translation":
        from vitrail.evaluation.translation import EveryTranslation

        return EveryTranslation(open_data(recipe, evaluation.data, "questions"))
    return open_data(recipe, evaluation.data, "questions")


def _ask(
    evaluation: Evaluation, bundle: Bundle, folder: Path, condition: str, source: Any, progress: Progress
) -> None:
    what = f"{evaluation.name}, {condition}"
    if condition != "blind":  # blinded, all pictures are one
        prepare_pictures(bundle, pictures_of(source), what, progress)
    progress.note(f"{what}: {len(source):,} questions")
    run_task(
        evaluation.task(),
        bundle,
        folder,
        condition,
        source=source,
        progress=now_and_then(lambda done, total: progress.note(f"{what}: {done:,} of {total:,}")),
        batch_size=evaluation.batch_size,
        methods=[(one.name, one.settings) for one in evaluation.methods],
    )


def pictures_of(source: Any) -> list[Any]:
    """Every picture of a source's questions with its root folder; what cannot be read shows up when it is
    asked."""
    pictures = []
    for record in source:
        shown = [*chain.from_iterable(pictures_apart(record)), *getattr(record, "images", ())]
        pictures += [(image, source.root) for image in shown if _readable(image, source.root)]
    return pictures


def _readable(image: Any, root: Path | None) -> bool:
    from vitrail.data.media import why_unreadable

    return why_unreadable(image, root) is None


def now_and_then(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """``tell``, at most once in ``EVERY_SECONDS``."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            tell(done, total)

    return progress


def write_gallery(source: Any, answers: Path, out: Path, n: int) -> None:
    """Keep ``n`` questions with their pictures beside the answers, so that a report needs nothing else.

    The kinds of question take turns, within each the most confident mistakes first. Texts that were read, not asked,
    are none of them.
    """
    from vitrail.data.readers import write_jsonl
    from vitrail.data.records import Document

    chosen = choose(read_answers(answers), n)
    asked = [(source[row["row"]], row["id"]) for row in chosen]
    records = [
        record.model_copy(update={"id": name}) for record, name in asked if not isinstance(record, Document)
    ]
    out.unlink(missing_ok=True)
    write_jsonl(records, out, images="inline", root=source.root)


def choose(answers: Answers, n: int) -> list[dict[str, Any]]:
    """The rows for a gallery of ``n``."""
    queues: dict[str, list[dict[str, Any]]] = {}
    for row in answers.rows:
        queues.setdefault(row["kind"], []).append(row)
    for queue in queues.values():
        queue.sort(key=lambda row: (row["correct"], -confidence(row), row["row"]))
    chosen: list[dict[str, Any]] = []
    while len(chosen) < n and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < n:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda row: row["row"])
