"""A recipe with a ``loop``: which of its stages are repeated, and what the loop is given to repeat them.

The stages in front of the first one that trains on the loop's data run once; that one and those behind it run in every
round, on the records that the loop makes of the data. What the rounds leave behind: :mod:`vitrail.loops.rounds`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.recipes import loading
from vitrail.recipes.mixing import is_mixture
from vitrail.storage import atomic
from vitrail.storage.runs import RunFolder

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.recipes.schema import Recipe
    from vitrail.training.progress import Progress
    from vitrail.training.stages import StageConfig

Fault = tuple[tuple[str | int, ...], str, Any]


def faults(recipe: Recipe) -> list[Fault]:
    """What is wrong between a recipe's loop and the rest: path, message, value."""
    from vitrail.registry import nearest

    if recipe.loop is None:
        return []
    if not recipe.stages:
        return [(("loop",), "there is no stage to repeat; add one, or remove the loop", recipe.loop.name)]
    name = loop_data(recipe)
    place = ("loop", "data")
    if name not in recipe.data:
        return [(place, f"'data' has no source of this name; {nearest(name, sorted(recipe.data))}", name)]
    if is_mixture(recipe.data[name]):
        return [
            (place, "a loop takes its questions from one source, not from a mixture; name one of it", name)
        ]
    if recipe.model.dual_encoder is not None:
        return [(("loop",), "a dual encoder answers no questions; remove the loop", recipe.loop.name)]
    before, repeated = divided(recipe)
    if not repeated:
        return [
            (place, "no stage trains on this source, so there is nothing to repeat; name one's data", name)
        ]
    found: list[Fault] = []
    earlier = {one.name for one in before}
    for position, stage in enumerate(recipe.stages):
        if stage in repeated and stage.continues in earlier:
            message = "this stage is repeated by the loop, and that one runs before it; remove 'continues'"
            found.append((("stages", position, "continues"), message, stage.continues))
    if recipe.loop.config.keep == "best" and not recipe.evaluation:
        found.append(
            (("loop", "keep"), "there is no evaluation to choose by; add one, or keep the last", "best")
        )
    return found


def loop_data(recipe: Recipe) -> str:
    """The name of the source that the loop takes its questions from: its own, or what the last stage trains on."""
    assert recipe.loop is not None
    own: str | None = recipe.loop.config.data
    return own if own is not None else recipe.stages[-1].data


def divided(recipe: Recipe) -> tuple[tuple[StageConfig, ...], tuple[StageConfig, ...]]:
    """The stages that run once, and those that every round repeats."""
    name = loop_data(recipe)
    first = next(
        (n for n, one in enumerate(recipe.stages) if _reads(recipe, one.data, name)), len(recipe.stages)
    )
    return recipe.stages[:first], recipe.stages[first:]


def _reads(recipe: Recipe, data: str, wanted: str) -> bool:
    found = recipe.data.get(data)
    if data == wanted or found is None or not is_mixture(found):
        return data == wanted
    return any(_reads(recipe, name, wanted) for name in found.sources if name != data)  # type: ignore[union-attr]


class RecipeWorkshop:
    """What a loop is given (:class:`vitrail.loops.rounds.Workshop`) by a recipe in its run's folder."""

    def __init__(self, recipe: Recipe, run: RunFolder, progress: Progress, device: str) -> None:
        assert recipe.loop is not None
        self.recipe, self.progress, self.device = recipe, progress, device
        self.folder, self.seed = run.path / "rounds", recipe.seed
        self.before, self.repeated = divided(recipe)
        self._plain = {**loading.plain(recipe), "loop": None}
        self._source: Any = None
        self._held: tuple[str, Bundle] | None = None

    def source(self) -> Any:
        """The loop's data, as questions."""
        from vitrail.recipes.sources import open_data

        if self._source is None:
            self._source = open_data(self.recipe, loop_data(self.recipe), "questions")
        return self._source

    def start(self) -> str:
        """The model before the first round: of the stages that run once, or the recipe's own."""
        model = self.recipe.model
        if not self.before and model.path is not None and not (model.surgeries or model.image):
            return model.path
        assert self.recipe.loop is not None
        shared = self.recipe.loop.config.share_start
        lora = self._plain["model"].get("lora") if _adapts(self.before) else None
        recipe, own = self._part(self.before, {"lora": lora}), self.folder / "start" / "run"
        return self._shared(recipe, own) if shared else self._run(recipe, own)

    def _shared(self, plain: Mapping[str, Any], own: Path) -> str:
        """A beginning that lies in the cache, for all loops that begin alike; what it cost is told in ``own``, too."""
        from vitrail.recipes.training_run import is_trained
        from vitrail.storage.cache import default_root, key
        from vitrail.storage.lock import Locked

        names = {stage.data for stage in self.before}
        alone = not any(stage.probes or is_mixture(self.recipe.data[stage.data]) for stage in self.before)
        data = {name: one for name, one in plain["data"].items() if name in names or not alone}
        about = {"name": "start", "about": "", "report": {}}
        wanted = loading.plain(loading.load({**plain, **about, "data": data}))
        folder = default_root() / "starts" / key("start", wanted)[:16]
        while not is_trained(RunFolder(folder)):
            try:
                self._run(wanted, folder)
            except Locked:  # another process trains it
                time.sleep(2.0)
        for path in sorted((folder / "stages").glob("*/*.json*")):
            target = own / "stages" / path.parent.name / path.name
            if not target.exists():
                atomic.write_bytes(target, path.read_bytes())
        return str(folder / "model")

    def train(self, folder: Path, records: Path, root: Path | None, start: str | None) -> str:
        """The round's stages on ``records``, from ``start`` or from the beginning that all rounds share."""
        if start is None and self.before:
            start = self.start()
        model: dict[str, Any] = {}
        if start is not None:
            kept = ("dtype", "lora") if _adapts(self.repeated) else ("dtype",)
            dropped = dict.fromkeys(self._plain["model"])
            model = {**dropped, **{name: self._plain["model"].get(name) for name in kept}, "path": start}
            model = {**model, "surgeries": [], "dtype": model["dtype"] or "auto"}
        recipe = self._part(self.repeated, model)
        where = {} if root is None else {"root": str(Path(root).absolute())}
        recipe["data"][loop_data(self.recipe)] = {
            "kind": "file",
            "path": str(records.absolute()),
            **where,
        }
        return self._run(recipe, folder)

    def bundle(self, model: str) -> Bundle:
        """A model on the device; the one held before is let go."""
        from vitrail.models.loading import load
        from vitrail.recipes.assembly import place
        from vitrail.recipes.training_run import takes_features, tower_stays, use_features

        if self._held is None or self._held[0] != model:
            self._held = None
            bundle = load(model)
            if tower_stays(self.recipe) and takes_features(bundle):
                use_features(bundle)
            self._held = model, place(bundle, self.device)
        return self._held[1]

    def measure(self, folder: Path, model: str) -> dict[str, float]:
        """Right answers, or minus the loss, of the trained model in each of the recipe's evaluations."""
        from vitrail.recipes.evaluation_run import evaluate

        asked = [{**one, "conditions": ["trained"]} for one in self._plain["evaluation"]]
        recipe = loading.load({**self._plain, "evaluation": asked})
        found = evaluate(recipe, RunFolder(folder), self.progress, lambda: self.bundle(model), self.device)
        return {
            name: -one.overall.loss if one.overall.loss is not None else one.overall.accuracy or 0.0
            for name, conditions in found.items()
            for one in conditions.values()
        }

    def note(self, text: str) -> None:
        """Tell whoever listens."""
        self.progress.note(text)

    def _part(self, stages: tuple[StageConfig, ...], model: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with some of its stages alone, without evaluation; ``model`` replaces fields of its model."""
        own = {**self._plain["model"], **model}
        return {
            **self._plain,
            "model": {name: value for name, value in own.items() if value is not None},
            "data": dict(self._plain["data"]),
            "stages": [loading.plain(one) for one in stages],
            "evaluation": [],
        }

    def _run(self, plain: Mapping[str, Any], folder: Path) -> str:
        from vitrail.recipes.training_run import is_trained, trained_model

        recipe, run = loading.load(plain), RunFolder(folder)
        if not is_trained(run):
            self._held = None  # two large models need not fit at once
            with run.writing(
                loading.plain(recipe), lambda stored: loading.plain(loading.load(stored))
            ) as opened:
                trained_model(recipe, opened, self.progress, self.device)
        return str(run.model_path.absolute())


def _adapts(stages: tuple[StageConfig, ...]) -> bool:
    """Whether a stage trains adapters."""
    return any(part.rsplit(".", 1)[-1] == "lora" for stage in stages for part in stage.trains)


def looped_model(recipe: Recipe, run: RunFolder, progress: Progress, device: str = "auto") -> Bundle:
    """The model of the round that is kept, after all rounds or what is left of them; it is copied into the run.

    ValueError for questions of an evaluation that are also the loop's, for several processes, or as the loop's own.
    """
    from vitrail.loops.rounds import chosen, run_rounds
    from vitrail.models.loading import load

    assert recipe.loop is not None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a loop runs in one process; start it without torchrun or accelerate launch")
    workshop = RecipeWorkshop(recipe, run, progress, device)
    if not (workshop.folder / "00").exists():
        refuse_overlap(recipe, workshop.source())
    found = run_rounds(recipe.loop.build(), workshop)
    kept = chosen(found, recipe.loop.config.keep)
    progress.note(f"the run's model is that of round {kept['round'] + 1}")
    workshop._held = None
    with atomic.new_folder(run.model_path) as folder:
        shutil.copytree(kept["model"], folder, dirs_exist_ok=True)
    return load(run.model_path)


def refuse_overlap(recipe: Recipe, source: Any) -> None:
    """ValueError if an evaluation asks what the loop makes data of: the same question about the same picture."""
    from vitrail.recipes.evaluation_run import question_source

    own = {_asked(record, row): row for row, record in enumerate(source)}
    for evaluation in recipe.evaluation:
        for row, record in enumerate(question_source(recipe, evaluation)):
            place = own.get(_asked(record, row))
            if place is not None:
                raise ValueError(
                    f"question {row} of evaluation {evaluation.name!r} is record {place} of the loop's data "
                    f"{source.name}: what is tested must not be trained on; remove it from one of them"
                )


def _asked(record: Any, row: int) -> tuple[str, str]:
    """What identifies a question: its picture (or none) and its words."""
    from vitrail.data.folds import picture_of

    turns = [turn.text for turn in getattr(record, "messages", ()) if turn.role == "user"]
    images = getattr(record, "images", ())
    return picture_of(record, row) if images else "", "\n".join(turns) or f"row {row}"


def forecast(recipe: Recipe, plan: Any) -> dict[str, Any]:
    """What the loop will do at the most: ``rounds``, stages that run ``once`` and that are ``repeated``, what is
    ``asked`` of whom in a round, and ``seconds`` of training in all (None where the plan has no times).

    A round's stages are taken as the plan has them, on the loop's data as it is before the first round.
    """
    from vitrail.recipes.sources import open_data

    assert recipe.loop is not None
    once, repeated = divided(recipe)
    times = {one.name: one.seconds for one in plan.stages}
    known = [times.get(one.name) for one in (*once, *repeated)]
    rounds, seconds = recipe.loop.config.rounds, None
    if None not in known:
        seconds = sum(times[one.name] for one in once) + rounds * sum(times[one.name] for one in repeated)
    n = len(open_data(recipe, loop_data(recipe), "questions"))
    return {
        "rounds": rounds,
        "once": [one.name for one in once],
        "repeated": [one.name for one in repeated],
        "asked": [vars(one) for one in recipe.loop.build().forecast(n)],
        "seconds": seconds,
    }


def rounds_of(run: RunFolder) -> list[dict[str, Any]]:
    """The summaries of the rounds that a run has finished, in order; empty for a run without a loop."""
    paths = sorted((run.path / "rounds").glob("[0-9]*/round.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def rounds_table(rounds: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Columns and rows: each round's counts and scores."""
    left_out = ("model", "reasons", "scores")
    counts = list(dict.fromkeys(name for one in rounds for name in one if name not in left_out))
    scores = list(dict.fromkeys(name for one in rounds for name in one.get("scores", {})))
    counts = [name for name in counts if any(one.get(name) is not None for one in rounds)]
    rows = [
        (
            *(_cell(name, one.get(name)) for name in counts),
            *(f"{one['scores'][name]:.4f}" if name in one.get("scores", {}) else "–" for name in scores),
        )
        for one in rounds
    ]
    return (*(name.replace("_", " ") for name in counts), *scores), rows


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return "–"
    return value + 1 if name == "round" else f"{value:.4f}" if isinstance(value, float) else value
