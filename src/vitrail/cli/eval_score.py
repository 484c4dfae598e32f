"""``vitrail eval score FILE``: the scores of a file of answers, without asking anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "answers", type=Path, nargs="+", metavar="FILE", help="…/evaluation/NAME/trained.jsonl"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="FILE", help="write the file that its leaderboard takes"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score each file; those of one evaluation stand in one table."""
    from vitrail.cli.evaluate import official_of
    from vitrail.cli.evaluate_benchmark import write_submission
    from vitrail.cli.official_text import print_official
    from vitrail.cli.running import print_scores
    from vitrail.evaluation.scores import score

    found: dict[str, dict[str, dict]] = {}
    for path in args.answers:
        one = score(path)
        found.setdefault(one.task, {})[one.condition] = one.as_json()
    if args.submission is not None:
        write_submission(args.answers[0], args.submission)
    if args.json:
        print_json(found)
        return 0
    for task, conditions in found.items():
        if official_of(conditions):
            print_official(task, conditions)
        else:
            print_scores({task: conditions})
    return 0
