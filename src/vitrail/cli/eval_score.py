"""``vitrail eval score FILE``: the scores of a file of answers, without asking anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, part_named


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "answers", type=Path, nargs="+", metavar="FILE", help="…/evaluation/NAME/trained.jsonl"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="FILE", help="write the file that its leaderboard takes"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME[:FIELD=VALUE,…]",
        help="judge the answers again by this: match:reading=words … (default: as they were judged)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the answers so judged go")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score each file; those of one evaluation stand in one table."""
    from vitrail.cli.evaluate import official_of
    from vitrail.cli.evaluate_benchmark import write_submission
    from vitrail.cli.official_text import print_official
    from vitrail.cli.running import print_scores
    from vitrail.evaluation.answers import read_answers
    from vitrail.evaluation.rejudging import rejudged, write_answers
    from vitrail.evaluation.scores import scores_of

    _require_fitting(args)
    metric = None if args.metric is None else part_named(args.metric)
    found: dict[str, dict[str, dict]] = {}
    for path in args.answers:
        answers = read_answers(path) if metric is None else rejudged(read_answers(path), metric)
        if args.out is not None:
            write_answers(answers, args.out)
        one = scores_of(answers)
        found.setdefault(one.task, {})[one.condition] = one.as_json()
    if args.submission is not None:
        write_submission(args.out or args.answers[0], args.submission)
    if args.json:
        print_json(found)
        return 0
    for task, conditions in found.items():
        if official_of(conditions):
            print_official(task, conditions)
        else:
            print_scores({task: conditions})
    return 0


def _require_fitting(args: argparse.Namespace) -> None:
    """ValueError for options that do not go together."""
    if args.out is not None and args.metric is None:
        raise ValueError("--out goes with --metric: the answers as they are stand in their file")
    if args.out is not None and len(args.answers) > 1:
        raise ValueError(f"--out is one file, but there are {len(args.answers)} of answers; give one")
    if args.metric is not None and args.submission is not None and args.out is None:
        raise ValueError("--submission with --metric needs --out FILE, the answers that it is written from")
