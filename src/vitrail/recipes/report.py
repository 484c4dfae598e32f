"""A run's HTML report, from the files in its folder alone.

What the reader wants first stands first: how well it answers, next to what chance, the blinded and the
untrained model reach; then mistakes with their pictures; then how it was trained, from what recipe, on which
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.calibration import likelihoods
from vitrail.evaluation.scores import Rate, Scores, score
from vitrail.recipes import loading
from vitrail.recipes.evaluation_run import GALLERY
from vitrail.recipes.schema import Recipe
from vitrail.storage.log import read_log
from vitrail.storage.runs import RunFolder

CONDITIONS = {
    "trained": "the trained model",
    "blind": "the trained model, every picture grey",
    "untrained": "the model before training",
}


def write_report(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of the run in ``folder`` to ``out`` (default: its ``report.html``); returns where.

    Equal files give equal bytes. ValueError if there is no run; ImportError names the extra if matplotlib is
    missing.
    """
    from vitrail.reporting.plots import require

    require()
    run = RunFolder(folder)
    recipe = loading.load(run.recipe())
    page = _page(recipe, run)
    return page.write(out if out is not None else run.report_path)


def _page(recipe: Recipe, run: RunFolder) -> Any:
    from vitrail.reporting import Page

    scores = _scores(recipe, run)
    page = Page(recipe.report.title or recipe.name, recipe.about, footer=_credits(recipe))
    _results(page, recipe, scores)
    for evaluation in recipe.evaluation:
        _gallery(page, evaluation.name, run)
    _training(page, recipe, run)
    _recipe(page, recipe, run)
    return page


def _scores(recipe: Recipe, run: RunFolder) -> dict[str, dict[str, Scores]]:
    found: dict[str, dict[str, Scores]] = {}
    for evaluation in recipe.evaluation:
        paths = {
            name: run.evaluation(evaluation.name) / f"{name}.jsonl"
            for name in recipe.conditions_of(evaluation)
        }
        found[evaluation.name] = {name: score(path) for name, path in paths.items() if path.exists()}
    return {task: conditions for task, conditions in found.items() if conditions}


def _results(page: Any, recipe: Recipe, scores: Mapping[str, Mapping[str, Scores]]) -> None:
    from vitrail.reporting import Headline, Notice

    if not scores:
        page.section("Results").add(Notice("Nothing was evaluated."))
        return
    lead = "Share of right answers; brackets and whiskers are 95 % intervals over pictures."
    section = page.section("Results", lead)
    section.add(Headline([_headline(task, conditions) for task, conditions in scores.items()]))
    for task, conditions in scores.items():
        bars = [] if first_of(conditions).overall.loss is not None else [_bars(task, conditions)]
        section.add(*bars, *_official(task, conditions), *_counts(task, conditions))


def first_of(conditions: Mapping[str, Scores]) -> Scores:
    """The scores of the first condition, which the others are held against."""
    return next(iter(conditions.values()))


def _headline(task: str, conditions: Mapping[str, Scores]) -> tuple[str, str, str]:
    name, first = next(iter(conditions.items()))
    if first.overall.loss is not None:
        parts = [f"{other} {one.overall.loss:.3f}" for other, one in conditions.items() if other != name]
        return task, f"{first.overall.loss:.3f}", "; ".join([f"{name}; {_share(first.overall)}", *parts])
    detail = f"{name}; {_share(first.overall)}"
    others = [
        f"{other} {_percent(one.overall.accuracy)}" for other, one in conditions.items() if other != name
    ]
    if first.overall.chance is not None:
        others.append(f"chance {_percent(first.overall.chance)}")
    return task, _percent(first.overall.accuracy), "; ".join([detail, *others])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _share(rate: Rate) -> str:
    if rate.loss_interval is not None:
        low, high = rate.loss_interval
        return f"{low:.3f} to {high:.3f} nats a token ({rate.n} answers)"
    if rate.interval is None:
        return f"{rate.n} questions"
    return f"{100 * rate.interval[0]:.0f} to {100 * rate.interval[1]:.0f} % ({rate.n} questions)"


def _bars(task: str, conditions: Mapping[str, Scores]) -> Any:
    from vitrail.reporting import Bars

    first = next(iter(conditions.values()))
    kinds = [*first.by_kind, *(["all"] if len(first.by_kind) > 1 else [])]

    def of(one: Scores, kind: str) -> Rate | None:
        return one.by_kind.get(kind, one.overall if kind == "all" else None)

    def bar(rate: Rate | None) -> tuple[float, float, float] | None:
        if rate is None or rate.accuracy is None:
            return None
        low, high = rate.interval or (rate.accuracy, rate.accuracy)
        return rate.accuracy, low, high

    chances = [getattr(of(first, kind), "chance", None) for kind in kinds]
    marks = {"chance": chances} if any(chance is not None for chance in chances) else {}
    series = {name: [bar(of(one, kind)) for kind in kinds] for name, one in conditions.items()}
    known = [f"{name}: {CONDITIONS[name]}" for name in conditions if name in CONDITIONS]
    return Bars(
        f"{task}: right answers by kind of question", kinds, series, marks, note="; ".join(known) + "."
    )


def _official(task: str, conditions: Mapping[str, Scores]) -> list[Any]:
    """A benchmark's own figures, conditions beside chance and the majority guess, and what they cover."""
    from vitrail.reporting import DataTable, Notice

    scored = {name: one.official for name, one in conditions.items() if one.official is not None}
    if not scored:
        return []
    first = next(iter(scored.values()))
    found = {name: {figure.name: figure for figure in one.figures} for name, one in scored.items()}
    rows = [
        (
            figure.name,
            *(
                _percent(found[name][figure.name].value if figure.name in found[name] else None)
                for name in scored
            ),
            _percent(figure.random),
            _percent(figure.majority),
            figure.n,
        )
        for figure in first.figures
    ]
    columns = ("figure", *scored, "random", "majority", "n")
    covers = [f"{name} covers {one.coverage}" for name, one in scored.items()]
    caption = f"{task}: the official score of {first.benchmark}"
    return [
        DataTable(columns, rows, caption=caption),
        Notice(f"{'; '.join(covers)}. {' '.join(first.notes)}"),
    ]


def _counts(task: str, conditions: Mapping[str, Scores]) -> list[Any]:
    """How many rows each figure covers, and what was left out."""
    from vitrail.reporting import DataTable, Notice

    columns = (
        "condition",
        "questions",
        "right",
        "wrong",
        "unreadable answers",
        "ties",
        "set aside",
        "not asked",
    )
    rows = [
        (name, one.overall.n, one.overall.right, one.overall.wrong, one.overall.unparsed, one.overall.ties,
         one.set_aside + one.unread, one.missing)
        for name, one in conditions.items()
    ]  # fmt: skip
    shown: list[Any] = [DataTable(columns, rows, caption=f"{task}: what the figures cover")]
    guess = next(iter(conditions.values())).overall.majority
    if guess is not None:
        share = f"{100 * guess:.0f} %"
        text = f"{task}: the best guess from the options alone, without a picture, is right in {share}."
        shown.append(Notice(text))
    reasons = {reason: count for one in conditions.values() for reason, count in one.reasons.items()}
    if reasons:
        listed = "; ".join(f"{reason} ({count})" for reason, count in list(reasons.items())[:5])
        shown.append(Notice(f"Set aside: {listed}", "warning"))
    return shown


def _gallery(page: Any, task: str, run: RunFolder) -> None:
    from vitrail.data.readers import open_source
    from vitrail.reporting import Gallery

    folder = run.evaluation(task)
    if not (folder / GALLERY).exists():
        return
    if not (folder / GALLERY).stat().st_size:
        return  # a report without a gallery
    source = open_source(folder / GALLERY)
    paths = [path for name in CONDITIONS if (path := folder / f"{name}.jsonl").exists()]
    if not len(source) or not paths:
        return
    answers = read_answers(paths[0])
    rows = {row["id"]: row for row in answers.rows}
    cards = [_card(record, rows[record.id]) for record in source if record.id in rows]
    mistakes = sum(not row["correct"] for row in answers.rows)
    shown = sum(card.outcome == "wrong" for card in cards)
    lead = f"{len(cards)} of {len(answers.rows)} questions, with {shown} of {mistakes} mistakes, answered by "
    lead += f"{CONDITIONS[paths[0].stem]}; the most confident mistakes first."
    page.section(f"Pictures: {task}", lead).add(Gallery(cards, name=f"gallery-{task}"))


def _card(record: Any, row: Mapping[str, Any]) -> Any:
    from vitrail.reporting import Question, embed

    question = record.messages[-1].text if record.choices is not None else record.messages[-2].text
    shapes = _asked_about(record)
    pictures = [
        embed(image.read(None), f"picture of the question: {question}", shapes) for image in record.images
    ]
    return Question(
        question=question,
        pictures=pictures,
        options=row["options"],
        truth=row["answer"],
        prediction=row["prediction"],
        likelihoods=likelihoods(row),
        kind=row["kind"],
        group=row["names"] or "",
        reference=row["reference"] or "",
        answer=row.get("text", ""),
        right=None if row["options"] else row["correct"],
    )


def _asked_about(record: Any) -> list[Any]:
    """Outlines of the things that a question about a composed scene is about, where the record tells."""
    from vitrail.reporting.pictures import box

    scene, about = record.meta.get("scene"), record.meta.get("about")
    if not isinstance(scene, Mapping) or not isinstance(about, list) or len(record.images) != 1:
        return []
    things = scene.get("objects", [])
    chosen = [things[index] for index in about if isinstance(index, int) and 0 <= index < len(things)]
    corners = [(thing["name"], [float(end) for end in thing.get("box", ())]) for thing in chosen]
    return [box(ends[0], ends[1], ends[2], ends[3], label=name) for name, ends in corners if len(ends) == 4]


def _training(page: Any, recipe: Recipe, run: RunFolder) -> None:
    from vitrail.recipes.looping import rounds_of, rounds_table
    from vitrail.recipes.training_run import stage_results
    from vitrail.reporting import Curves, DataTable

    plan = run.plan()
    section = page.section("Model and training")
    if plan is not None:
        names = [stage["name"] for stage in plan["stages"]]
        rows = [
            (
                part["part"],
                part["kind"],
                part["parameters"],
                *(s["trained"].get(part["part"], 0) for s in plan["stages"]),
            )
            for part in plan["parts"]
        ]
        rows.append(("all", "", *(sum(row[column] for row in rows) for column in range(2, 3 + len(names)))))
        columns = ("part", "kind", "parameters", *(f"trained by {name}" for name in names))
        section.add(DataTable(columns, rows, caption="Parameters", emphasis=(len(rows) - 1,)))
    rounds = rounds_of(run)
    if rounds:
        section.add(DataTable(*rounds_table(rounds), caption="Rounds"))
    results = stage_results(recipe, run)
    if results:
        columns = ("stage", "steps", "records", "tokens", "last loss", "minutes", "precision", "decided by")
        rows = [
            (name, one["step"], one["samples"], one["tokens"], one["loss"], one["seconds"] / 60,
             one["plan"]["precision"], one["plan"]["by"])
            for name, one in results.items()
        ]  # fmt: skip
        section.add(DataTable(columns, rows, caption="Stages"))
    for stage in recipe.stages:
        metrics = read_log(run.stage_folders(stage.name)[-1] / "metrics.jsonl")
        if metrics:
            terms = list(metrics[0]["terms"])
            steps = [row["step"] for row in metrics]
            series = {"loss": (steps, [row["loss"] for row in metrics])}
            if len(terms) > 1:
                series |= {term: (steps, [row["terms"][term] for row in metrics]) for term in terms}
            section.add(Curves(f"{stage.name}: loss", series, smooth=0.9 if len(steps) > 40 else 0.0))


def _recipe(page: Any, recipe: Recipe, run: RunFolder) -> None:
    from vitrail.reporting import Code, DataTable, KeyValues

    page.section("Recipe", "What was run, every default filled in.", folded=True).add(
        Code(loading.dump(recipe), "yaml")
    )
    section = page.section("Where and with what", folded=True)
    section.add(KeyValues(run.environment(), caption="Environment of the first start"))
    starts = run.starts()
    if starts:
        rows = [
            (s["at"], "yes" if s["resumed"] else "no", s["fingerprint"], s["commit"] or "–") for s in starts
        ]
        section.add(DataTable(("started (UTC)", "resumed", "machine", "commit"), rows, caption="Starts"))
    prints = [
        (task, name, kind, value)
        for task, conditions in _scores(recipe, run).items()
        for name, one in conditions.items()
        for kind, value in one.fingerprints.items()
    ]
    if prints:
        columns = ("task", "condition", "of", "fingerprint")
        section.add(DataTable(columns, prints, caption="Fingerprints of what the answers depend on"))


def _credits(recipe: Recipe) -> str:
    """Whom to name for the pictures shown."""
    from vitrail.data.scenes import suite

    found = []
    for data in recipe.data.values():
        if data.kind == "scenes":
            try:
                found.append(suite(data.suite).credit)
            except (ValueError, ImportError):
                found.append(f"Pictures of {data.suite}.")
    return " ".join(dict.fromkeys(found))
