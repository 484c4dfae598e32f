"""Run a recipe from beginning to end, in a folder, as often as it takes.

Every step is skipped where its result is there and whole: stages by their ``done.json``, rounds of a loop by their
``round.json``, the model by its folder, answers by their file. A killed run started again does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrail.recipes import loading
from vitrail.recipes.schema import Recipe
from vitrail.storage.atomic import write_json
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.recipes.plan import Plan
    from vitrail.training.progress import Progress


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    ``stages``: by name, steps, loss, seconds and plan; ``scores``: by task and condition, ``accuracy``,
    ``interval``, ``n``, ``by_kind`` and more; ``report``: None where matplotlib is missing.
    """

    folder: Path
    recipe: Recipe
    stages: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, Any]]
    report: Path | None

    @property
    def model(self) -> Path:
        """The trained model's folder."""
        return RunFolder(self.folder).model_path

    def load(self) -> Bundle:
        """The trained model with what feeds it."""
        from vitrail.models.loading import load

        return load(self.model)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run": str(self.folder),
            "recipe": self.recipe.name,
            "model": str(self.model),
            "report": str(self.report) if self.report else None,
            "stages": self.stages,
            "scores": self.scores,
        }


def run(
    recipe: Recipe,
    folder: Path | str,
    *,
    progress: Progress | None = None,
    resume: Literal["auto", "never"] = "auto",
    device: str = "auto",
    planned: Plan | None = None,
    report: bool = True,
) -> RunResult:
    """Train, evaluate and report ``recipe`` in ``folder``, or do what is left of it.

    ``progress`` is told what happens (default: nobody). ``resume="never"`` refuses a folder that holds a run;
    another recipe's run is refused in any case, with what differs; a field that a stored recipe lacks has its default.
    Several processes (torchrun) train together; what comes behind is the first one's, and the others return without
    scores. ValueError for what the user can put right.
    """
    from vitrail.training import processes
    from vitrail.training.progress import make_progress

    listener = progress if progress is not None else make_progress("none")
    place = RunFolder(folder)
    processes.connect(device)
    if not processes.is_first():
        return _help(recipe, place, device)
    if resume == "never" and place.exists:
        raise ValueError(
            f"{folder} holds a run already; choose another folder, or let it go on (resume=auto)"
        )
    with place.writing(loading.plain(recipe), lambda stored: loading.plain(loading.load(stored))) as opened:
        return _run(recipe, opened, listener, device, planned, report)


def _run(
    recipe: Recipe, opened: RunFolder, progress: Progress, device: str, planned: Plan | None, report: bool
) -> RunResult:
    from vitrail.recipes.evaluation_run import evaluate
    from vitrail.recipes.looping import looped_model
    from vitrail.recipes.plan import plan
    from vitrail.recipes.report import write_report
    from vitrail.recipes.training_run import is_trained, stage_results, trained_model
    from vitrail.training import processes

    if not opened.plan_path.exists():
        write_json(opened.plan_path, (planned or plan(recipe, measure_speed=False)).as_json())
    train = trained_model if recipe.loop is None else looped_model
    trained = processes.agreed(is_trained(opened))
    made = None if trained else train(recipe, opened, progress, device)
    scores = evaluate(
        recipe, opened, progress, lambda: made or trained_model(recipe, opened, progress), device
    )
    written: Path | None = None
    try:
        written = write_report(opened.path) if report else None
    except ImportError as missing:
        progress.note(f"no report: {missing}")
    return RunResult(
        folder=opened.path,
        recipe=recipe,
        stages=stage_results(recipe, opened),
        scores={task: {name: one.as_json() for name, one in found.items()} for task, found in scores.items()},
        report=written,
    )


def _help(recipe: Recipe, opened: RunFolder, device: str) -> RunResult:
    """What a process that is not the first does: train along."""
    from vitrail.recipes.training_run import stage_results, trained_model
    from vitrail.training import processes
    from vitrail.training.progress import make_progress

    if not processes.agreed(None):  # the first one has begun the folder, and says whether it is trained
        trained_model(recipe, opened, make_progress("none"), device)
    return RunResult(opened.path, recipe, stage_results(recipe, opened), {}, None)


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    run_folder: Path | str | None = None,
    overrides: loading.Overrides = (),
    progress: Progress | None = None,
    **fields: Any,
) -> RunResult:
    """Run a recipe by name, file or value: ``vitrail.train("quickstart", seed=1)``.

    ``fields`` are top-level fields of the recipe; ``overrides`` dotted ones (``{"stages.tune.max_steps":
    20}``). ``run_folder`` is ``runs/<name>`` by default. Progress goes to standard error unless ``progress``
    listens.
    """
    from vitrail.training.progress import make_progress

    checked = loading.load(loading.load(recipe, overrides), fields)
    folder = Path(run_folder) if run_folder is not None else Path("runs") / checked.name
    return run(checked, folder, progress=progress if progress is not None else make_progress("auto"))
