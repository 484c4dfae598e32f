"""``vitrail eval MODEL``: a run's own evaluations again, or a model on a file of questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.own_data import run_name
from vitrail.cli.parsing import add_json, add_threads, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, or a hub name")
    parser.add_argument("--data", metavar="FILE", help="questions, JSONL or Parquet (default: the run's own)")
    parser.add_argument("--name", help="of the evaluation (default: the file's name)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where answers go (default: the run's folder)"
    )
    parser.add_argument("--no-blind", action="store_true", help="do not ask again with grey pictures")
    parser.add_argument("--instruction", default="plain", help="how questions are put (default plain)")
    parser.add_argument("--inferencer", default="likelihood", help="likelihood (default) or generate")
    parser.add_argument("--metric", help="default: accuracy for likelihood, match for generate")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="default 16")
    parser.add_argument("--quiet", action="store_true", help="print errors and scores alone")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask what is not answered yet, and print the scores."""
    from vitrail.cli.running import print_scores

    scores = _on_file(args) if args.data is not None else _again(args)
    if args.json:
        print_json(scores)
    else:
        print_scores(scores)
    return 0


def _progress(args: argparse.Namespace) -> Any:
    from vitrail.training.progress import make_progress

    prepare_libraries(args.threads)
    return make_progress("none" if args.quiet or args.json else "auto")


def _again(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The run's own evaluations; what is answered is not asked again."""
    from vitrail.recipes.loading import load
    from vitrail.recipes.run import run as run_recipe

    if not (Path(args.model) / "recipe.yaml").is_file():
        raise ValueError(f"{args.model} is no run, so it has no questions of its own; give --data FILE")
    for option, value, default in (
        ("--out", args.out, None),
        ("--name", args.name, None),
        ("--metric", args.metric, None),
        ("--no-blind", args.no_blind, False),
        ("--instruction", args.instruction, "plain"),
        ("--inferencer", args.inferencer, "likelihood"),
    ):
        if value != default:
            raise ValueError(f"{option} goes with --data; a run's own evaluations are set in its recipe")
    return run_recipe(load(args.model), Path(args.model), progress=_progress(args)).scores


def _on_file(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from vitrail.data.readers import open_source
    from vitrail.data.sources import set_aside_of
    from vitrail.evaluation.run import run_task
    from vitrail.evaluation.scores import score
    from vitrail.evaluation.task import Task
    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place
    from vitrail.recipes.evaluation_run import now_and_then

    source = open_source(args.data, on_error="set_aside")
    if not len(source):
        rows = set_aside_of(source).rows
        raise ValueError(
            f"{args.data} holds no record that can be used ({rows[0] if rows else 'it is empty'})"
        )
    metric = args.metric or ("match" if args.inferencer == "generate" else "accuracy")
    parts = {"instruction": args.instruction, "inferencer": args.inferencer, "metric": metric}
    task = Task(name=args.name or run_name(args.data), **parts)
    folder = args.out or (Path(args.model) if Path(args.model).is_dir() else Path()) / "evaluation"
    progress, bundle, found = _progress(args), place(load(args.model)), {}
    for condition in ("trained",) if args.no_blind else ("trained", "blind"):
        progress.note(f"{task.name}, {condition}: {len(source):,} questions")

        def tell(done: int, total: int, what: str = f"{task.name}, {condition}") -> None:
            progress.note(f"{what}: {done:,} of {total:,}")

        path = run_task(
            task,
            bundle,
            folder,
            condition,
            source=source,
            progress=now_and_then(tell),
            batch_size=args.batch_size,
        )
        found[condition] = score(path).as_json()
    progress.note(f"answers: {Path(folder) / task.name}")
    return {task.name: found}
