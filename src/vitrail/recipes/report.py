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
from vitrail.evaluation.question_cards import GALLERY, card
from vitrail.evaluation.score_tables import (
    CONDITIONS,
    coverage_table,
    fingerprint_table,
    first_of,
    headline,
    kind_bars,
    official_table,
)
from vitrail.evaluation.scores import Scores, score
from vitrail.recipes import loading
from vitrail.recipes.schema import Recipe
from vitrail.storage.log import read_log
from vitrail.storage.runs import RunFolder


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
    section.add(Headline([headline(task, conditions) for task, conditions in scores.items()]))
    for task, conditions in scores.items():
        bars = [] if first_of(conditions).overall.loss is not None else [kind_bars(task, conditions)]
        section.add(*bars, *official_table(task, conditions), *coverage_table(task, conditions))


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
    cards = [card(record, rows[record.id]) for record in source if record.id in rows]
    mistakes = sum(not row["correct"] for row in answers.rows)
    shown = sum(card.outcome == "wrong" for card in cards)
    lead = f"{len(cards)} of {len(answers.rows)} questions, with {shown} of {mistakes} mistakes, answered by "
    lead += f"{CONDITIONS[paths[0].stem]}; the most confident mistakes first."
    page.section(f"Pictures: {task}", lead).add(Gallery(cards, name=f"gallery-{task}"))


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
    prints = {
        (task, name): one.fingerprints
        for task, conditions in _scores(recipe, run).items()
        for name, one in conditions.items()
    }
    if prints:
        section.add(fingerprint_table(prints))


def _credits(recipe: Recipe) -> str:
    """Whom to name for the pictures shown."""
    from vitrail.data.scenes import suite

    found = []
    for data in recipe.data.values():
        name = {"scenes": "suite", "named_things": "things"}.get(data.kind)
        if name is not None:
            shown = getattr(data, name)
            try:
                found.append(suite(shown).credit)
            except (ValueError, ImportError):
                found.append(f"Pictures of {shown}.")
    return " ".join(dict.fromkeys(found))
