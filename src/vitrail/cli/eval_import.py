"""``vitrail eval import FILE --benchmark NAME``: another tool's predictions, scored as the benchmark does."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "predictions", type=Path, metavar="FILE", help="result lines, lmms-eval samples, VLMEvalKit's TSV"
    )
    parser.add_argument("--benchmark", metavar="NAME", required=True, help="which questions they answer")
    parser.add_argument("--data", metavar="DIR", help="its official files")
    parser.add_argument("--reading", help="how a prediction is read: words (default), first-character …")
    parser.add_argument("--name", help="of the evaluation (default: the benchmark's, and 'imported')")
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation"), metavar="DIR", help="default: evaluation"
    )
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="the benchmark's own settings: task=image"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write a file of answers, and print its scores."""
    from vitrail.cli.evaluate_benchmark import scenario_of
    from vitrail.cli.official_text import print_official
    from vitrail.evaluation.predictions import import_predictions
    from vitrail.evaluation.scores import score
    from vitrail.evaluation.task import Task

    task = Task.model_validate(
        {
            "name": args.name or f"{args.benchmark}-imported",
            "scenario": {**scenario_of(args.benchmark, args.data, args.settings), "circular": False},
            "inferencer": "generate",
            "metric": {"name": "match", "reading": args.reading or "words"},
        }
    )
    path = import_predictions(
        task, task.part("scenario").source(), args.predictions, args.out, args.predictions.stem
    )
    found = score(path)
    if args.json:
        print_json({task.name: {found.condition: found.as_json()}})
    else:
        print_official(task.name, {found.condition: found.as_json()})
        print(f"answers: {path}")
    return 0
