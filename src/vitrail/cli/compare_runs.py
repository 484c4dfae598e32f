"""``vitrail compare RUN RUN``: two finished runs on the same questions, paired question by question."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.output import print_json, print_table


def run(args: argparse.Namespace) -> int:
    """Print the differences with their 95 % intervals."""
    from vitrail.evaluation.compare import compare

    found = {name: compare(first, second) for name, first, second in pairs(args)}
    if args.json:
        print_json({name: comparison.as_json() for name, comparison in found.items()})
        return 0
    for name, comparison in found.items():
        _print(name, comparison, args)
    return 0


def pairs(args: argparse.Namespace) -> list[tuple[str, Path, Path]]:
    """The pairs of answers files. ValueError if there are none."""
    if args.first.is_file() and args.second.is_file():
        return [(args.first.stem, args.first, args.second)]
    tasks = [_tasks(folder, args.condition) for folder in (args.first, args.second)]
    both = [name for name in tasks[0] if name in tasks[1] and args.task in (None, name)]
    if not both:
        has = "; ".join(f"{folder} has {', '.join(own) or 'none'}" for folder, own in zip(
            (args.first, args.second), tasks, strict=True))  # fmt: skip
        wanted = f"evaluation {args.task!r}" if args.task else "evaluation"
        raise ValueError(f"there is no {wanted} under {args.condition!r} that both have: {has}")
    return [(name, tasks[0][name], tasks[1][name]) for name in both]


def _tasks(folder: Path, condition: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"there is no run {folder}; give two runs' folders, or two files of answers")
    return {path.parent.name: path for path in sorted(folder.glob(f"evaluation/*/{condition}.jsonl"))}


def _print(name: str, comparison: Any, args: argparse.Namespace) -> None:
    rows = [difference_cells(kind, one) for kind, one in comparison.by_kind.items()]
    if comparison.overall is not None:
        rows.append(difference_cells("all", comparison.overall))
    columns = ("kind", "questions", "first", "second", "first − second", "95 % interval", "p (paired)")
    print_table(f"{name}: {args.first} against {args.second}", columns, rows, right=range(1, 7))
    if comparison.unpaired:
        print(f"{comparison.unpaired} questions that only one of them answered are left out.")


def difference_cells(kind: str, one: Any) -> tuple[str, ...]:
    """A paired difference as cells of a table."""
    interval = "–"
    if one.interval is not None:
        interval = " to ".join(f"{100 * end:+.1f}" for end in one.interval)
    shares = (f"{100 * one.first:.1f} %", f"{100 * one.second:.1f} %", f"{100 * one.difference:+.1f}")
    return (kind, f"{one.n:,}", *shares, interval, f"{one.p:.3g}")
