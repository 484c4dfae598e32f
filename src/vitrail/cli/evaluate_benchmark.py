"""``vitrail eval MODEL --benchmark NAME --data DIR``: official files in, official score out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitrail.cli.evaluate import answers_folder, ask
from vitrail.cli.parsing import part_named


def on_benchmark(args: argparse.Namespace, progress: Any) -> dict[str, dict[str, Any]]:
    """Ask what is not answered yet; the scores by task and condition. Says which rows are left out, and why."""
    from vitrail import registry
    from vitrail.data.sources import set_aside_of

    task = task_of(args)
    source = task.part("scenario").source()
    left = set_aside_of(source)
    if left.rows:
        progress.note(left.sentence())
        for row in left.rows[:5]:
            progress.note(f"  {row}")
    if not registry.get("benchmark", args.benchmark).pictures:
        args.no_blind = True
    found = ask(args, task, source, progress)
    if args.submission is not None and args.share is None:
        write_submission(answers_folder(args) / task.name / "trained.jsonl", args.submission)
        progress.note(f"submission: {args.submission}")
    return found


def on_suite(args: argparse.Namespace, progress: Any) -> dict[str, dict[str, Any]]:
    """Every benchmark that needs no files, one behind the other. ValueError for options that belong to one."""
    from vitrail.evaluation.benchmarks.offline import SUITE

    given = [f"--{name}" for name in ("benchmark", "data", "name", "submission") if getattr(args, name)]
    if given:
        raise ValueError(f"--suite asks {', '.join(SUITE)}; {given[0]} belongs to one of them, leave it out")
    found: dict[str, dict[str, Any]] = {}
    for name in SUITE:
        args.benchmark = name
        found |= on_benchmark(args, progress)
    return found


def scenario_of(name: str, data: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """The scenario of a benchmark. ValueError for a name or a setting that there is not, or files that it lacks."""
    from vitrail import registry
    from vitrail.recipes.overrides import parse

    files = "path" in registry.get("benchmark", name).Config.model_fields
    if data is None and files:
        raise ValueError(f"--benchmark {name} needs --data DIR, the folder of its official files")
    if data is not None and not files:
        raise ValueError(f"--benchmark {name} is composed here and needs no --data; leave it out")
    return {"name": "benchmark", "benchmark": name, "path": data, "settings": dict(map(parse, settings))}


def task_of(args: argparse.Namespace) -> Any:
    """The task that the arguments ask for. ValueError for a benchmark, a mode or a setting that there is not."""
    from vitrail import registry
    from vitrail.evaluation.task import Task

    benchmark = registry.get("benchmark", args.benchmark)
    parts = benchmark.parts(args.mode)
    for seam in ("instruction", "inferencer", "metric"):
        if getattr(args, seam):
            parts[seam] = part_named(getattr(args, seam))
    scenario = {
        **scenario_of(args.benchmark, args.data, args.settings),
        "n": args.limit,
        "circular": True if args.circular else None,
    }
    mode = f"-{args.mode}" if args.mode else ""
    turned = "-circular" if args.circular and not benchmark.circular else ""
    return Task(name=args.name or f"{args.benchmark}{mode}{turned}", scenario=scenario, **parts)


def write_submission(answers: Path, out: Path) -> None:
    """The file that the benchmark's leaderboard takes. ValueError for questions of no benchmark."""
    import json

    from vitrail import registry
    from vitrail.evaluation.answers import read_answers
    from vitrail.storage.atomic import write_text

    found = read_answers(answers)
    name = found.header.get("benchmark")
    if name is None:
        raise ValueError(f"{answers} answers no benchmark's questions, so there is no submission")
    rows = found.rows
    if found.header.get("circular"):
        rows = [row for row in rows if row["groups"]["turn"] == 0]
    benchmark = registry.get("benchmark", name)
    lines = benchmark.submission(rows)
    if benchmark.submits == "list":
        write_text(out, json.dumps(list(lines), ensure_ascii=False, indent=1) + "\n")
        return
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
