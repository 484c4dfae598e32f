"""``vitrail eval export WHAT --to lmms-eval OUT``: a benchmark, or answers, as other tools read them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, positive

TOOLS = ("lmms-eval", "vlmevalkit")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "what", metavar="WHAT", help="a benchmark's name, a file of questions, or a file of answers"
    )
    parser.add_argument("--data", metavar="DIR", help="the benchmark's official files")
    parser.add_argument(
        "--to",
        nargs=2,
        required=True,
        metavar=("TOOL", "OUT"),
        help="lmms-eval or vlmevalkit, and the folder to write",
    )
    parser.add_argument(
        "--mode", help="how it is asked (default letters: other tools take questions in words)"
    )
    parser.add_argument("--name", help="of the task there (default: the benchmark's, or the file's)")
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N questions alone")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="the benchmark's own settings: task=image"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what was left out."""
    tool, out = args.to[0], Path(args.to[1])
    if tool not in TOOLS:
        raise ValueError(f"--to {tool}: there is no such tool here; use {' or '.join(TOOLS)}")
    from vitrail.evaluation.exchange import lmms_eval, vlmevalkit

    writer: Any = lmms_eval if tool == "lmms-eval" else vlmevalkit
    answers = _answers(args)
    if answers is not None:
        done = writer.export_answers(answers, out)
    else:
        done = writer.export_task(*_task(args), out)
    if args.json:
        print_json({"folder": str(done.folder), "questions": done.questions, "left_out": done.left_out})
        return 0
    print(f"{done.questions:,} questions: {done.folder}")
    if done.left_out:
        print(f"left out: {len(done.left_out):,}")
        for reason in done.left_out[:5]:
            print(f"  {reason}")
    return 0


def _answers(args: argparse.Namespace) -> Any:
    """The file of answers that is named; None where it is none."""
    from vitrail.evaluation.answers import read_answers
    from vitrail.storage.log import read_log

    path = Path(args.what)
    if not path.is_file() or path.suffix != ".jsonl":
        return None
    try:
        first = next(iter(read_log(path)), {})
    except ValueError:
        return None
    return read_answers(path) if first.get("type") == "header" else None


def _task(args: argparse.Namespace) -> tuple[Any, Any]:
    from vitrail.evaluation.task import Task

    if Path(args.what).is_file():
        from vitrail.cli.own_data import run_name
        from vitrail.data.readers import open_source
        from vitrail.data.sources import take
        from vitrail.evaluation.benchmarks.benchmark import LETTER

        if args.data or args.settings or args.mode:
            raise ValueError(
                "--data, --mode and settings go with a benchmark's name; leave them out for a file"
            )
        source: Any = open_source(args.what, on_error="set_aside")
        source = source if args.limit is None else take(source, min(args.limit, len(source)))
        return Task.model_validate({"name": args.name or run_name(args.what), **LETTER}), source
    from vitrail import registry
    from vitrail.cli.evaluate_benchmark import scenario_of
    from vitrail.settings.component import require_known

    require_known("benchmark", args.what)
    scenario = {**scenario_of(args.what, args.data, args.settings), "n": args.limit, "circular": False}
    parts = registry.get("benchmark", args.what).parts(args.mode or "letters")
    task = Task.model_validate({"name": args.name or args.what, "scenario": scenario, **parts})
    return task, task.part("scenario").source()
