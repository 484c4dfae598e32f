"""``vitrail compare``: does a method help *my* model on *my* data at *my* budget? Or two finished runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import count, duration, octets, print_json, print_table
from vitrail.cli.own_data import run_name
from vitrail.cli.parsing import add_json, not_negative, positive

EPILOG = """\
vitrail compare tune +ovis --data mine.jsonl --model MODEL --budget 2h    a method against its matched control
vitrail compare a.yaml b.yaml --data mine.jsonl --budget 1h               two recipes
vitrail compare house-nano +ovis +s2 --budget 1h                          on scenes that vitrail composes
vitrail compare runs/one runs/two                                         the answers of two finished runs"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "sides", nargs="+", metavar="RECIPE|+METHOD|RUN", help="a recipe and what to hold against it"
    )
    own = parser.add_argument_group("methods and recipes")
    own.add_argument("--data", metavar="FILE", help="your records, divided by pictures into three folds")
    own.add_argument(
        "--root", metavar="DIR", help="where relative paths in --data begin (default: the file's folder)"
    )
    own.add_argument("--model", metavar="MODEL", help="a model's folder or hub name, or a run")
    own.add_argument(
        "--budget", metavar="TIME", help="for everything: 2h, 90m (default: as the recipe has it)"
    )
    own.add_argument(
        "--delta", type=not_negative, metavar="D", help="the smallest effect that matters (default 0.02)"
    )
    own.add_argument("--task", help="the evaluation that decides (runs: compare this one alone)")
    own.add_argument(
        "--trials", type=positive, default=3, metavar="N", help="learning rates to try (default 3)"
    )
    own.add_argument(
        "--seeds", type=positive, metavar="N", help="pairs of seeds (default: as the noise asks)"
    )
    own.add_argument("--questions", type=positive, metavar="N", help="questions of a cell at most")
    own.add_argument(
        "--run", type=Path, metavar="DIR", help="folder (default: runs/compare-…); a second start goes on"
    )
    own.add_argument("--jobs", type=positive, metavar="N", help="cells at a time (default: by the model)")
    own.add_argument(
        "--set", action="append", default=[], metavar="key=value", help="change a field of the recipe"
    )
    own.add_argument("--quiet", action="store_true", help="print the result alone")
    runs = parser.add_argument_group("two runs")
    runs.add_argument("--condition", default="trained", help="whose answers (default trained)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; prints the verdicts."""
    words = [side for side in args.sides if side.startswith("+")]
    rest = [side for side in args.sides if not side.startswith("+")]
    if not words and len(rest) == 2 and all(_finished(side) for side in rest):
        from vitrail.cli.compare_runs import run as compare_runs

        args.first, args.second = (Path(side) for side in rest)
        return compare_runs(args)
    prepare_libraries()
    return _compare(args, words, rest)


def _finished(side: str) -> bool:
    """A run's folder, or a file of answers: something that was measured already."""
    path = Path(side)
    return path.is_dir() or (path.is_file() and path.suffix == ".jsonl")


def _compare(args: argparse.Namespace, words: Sequence[str], names: Sequence[str]) -> int:
    from vitrail.studies.engine import Comparison
    from vitrail.studies.own import design, seconds
    from vitrail.studies.report import write_report

    recipes = [_recipe(args, name) for name in names or (None,)]
    if not words and len(recipes) < 2:
        raise ValueError("there is nothing to hold against it: name a method (+ovis) or a second recipe")
    made = design(
        recipes[0],
        words,
        recipes[1:],
        delta=args.delta,
        evaluation=None if args.data else args.task,
        trials=args.trials,
        seeds=args.seeds,
        questions=args.questions,
    )
    folder = args.run or Path("runs") / ("compare-" + run_name(made.name.replace(" against ", "-")))
    jobs = args.jobs or _jobs(recipes[0])
    listener = _listener(args)
    with listener:
        found = Comparison(
            made,
            folder,
            seconds=seconds(args.budget) if args.budget else None,
            jobs=jobs,
            threads=max(1, (os.cpu_count() or 1) // jobs),
            listener=listener,
        ).run()
    report = write_report(folder)
    if args.json:
        print_json({**found, "report": str(report) if report else None})
    else:
        print_outcome(found)
        print(f"report: {report}" if report else "no report was written: install vitrail[report]")
    return 0


def _recipe(args: argparse.Namespace, name: str | None) -> dict[str, Any]:
    """A recipe with what the options say about data and model.

    A recipe that trains on scenes alone gets the file in the place of what its last stage trains on.
    """
    from vitrail.cli.own_data import find_recipe, source_of_own
    from vitrail.recipes.loading import load, plain
    from vitrail.studies.own import on_own_file

    args.recipe, args.overrides, args.eval = name, list(args.set), None
    if args.data and name is not None:
        shipped = load(name)
        if shipped.stages and all(source.kind == "scenes" for source in shipped.data.values()):
            last = shipped.stages[-1].data
            file = {"kind": "file", "path": args.data, **({"root": args.root} if args.root else {})}
            model = {"model.path": args.model} if args.model else {}
            return on_own_file(plain(load(load(shipped, {f"data.{last}": file, **model}), args.set)), last)
    checked, _ = find_recipe(args)
    found = plain(checked)
    return on_own_file(found, source_of_own(checked)) if args.data else found


def _jobs(recipe: Mapping[str, Any]) -> int:
    """One cell a core for tiny models, else one: a larger model uses all cores, or the accelerator, by itself."""
    import torch

    tiny = str(recipe["model"].get("testbed") or "").startswith("nano")
    return (os.cpu_count() or 1) if tiny and not torch.cuda.is_available() else 1


def _listener(args: argparse.Namespace) -> Any:
    from vitrail.cli.live import LiveTable, Quiet

    return Quiet() if args.quiet or args.json else LiveTable()


INDICATORS = ("figure", "ρ × sign", "interval", "first is ahead by", "interval")


def print_outcome(found: Mapping[str, Any]) -> None:
    """Effects with intervals and verdicts, then what each arm reached and cost."""
    percent = all(arm["unit"] == "share right" for arm in found["arms"].values())
    over_arms, level = "points" in found, found["contrasts"][0]["level"]
    rows = [_contrast_row(one, percent and not over_arms) for one in found["contrasts"]]
    columns = _contrast_columns(
        found.get("unit", "points" if percent else "nats a token, gained"), level, over_arms
    )
    print_table(f"{found['name']}", columns, rows, right=(2, 3, 4))
    if found.get("indicators"):
        beside = [_indicator_row(one) for one in found["indicators"]]
        print_table("figures beside each other (no verdict)", INDICATORS, beside, right=(1, 2, 3, 4))
    costs = [_cost_row(name, arm, percent) for name, arm in found["arms"].items()]
    spent = ("arm", "score", "n", "training", "peak memory", "FLOPs", "parameters", "trained")
    print_table("what it took (means)", spent, costs, right=range(1, len(spent)))
    for one in found["contrasts"]:
        if one["why"]:
            print(f"{one['method']}: {one['why']}")
        if one["harm"]:
            said = f"goes against {one['control']}" if over_arms else f"is worse than {one['control']}"
            print(f"{one['method']}: it {said} for sure")
    print(f"rule, fixed before the run: {found['rule']}")
    print(f"scope: {scope_sentence(found['scope'])}")


def _contrast_columns(unit: str, level: float, over_arms: bool) -> tuple[str, ...]:
    first, second, third = ("figure", "with", "arms") if over_arms else ("method", "against", "pairs")
    return (first, second, f"effect ({unit})", f"{100 * level:.4g} % interval", third, "verdict")


def _indicator_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    cells = []
    for found in (one, one.get("x ahead")):
        if found is None or found["effect"] is None:
            cells += ["–", one["why"] or "–"]
        else:
            cells += [f"{found['effect']:+.2f}", "{:+.2f} to {:+.2f}".format(*found["interval"])]
    return (one["name"], *cells)


def _contrast_row(one: Mapping[str, Any], percent: bool) -> tuple[str, ...]:
    if one["effect"] is None:
        return (one["method"], one["control"], "–", "–", str(one["n"]), one["verdict"].upper())
    low, high = one["interval"]
    scale, form = (100, "+.1f") if percent else (1, "+.4f")
    interval = f"{scale * low:{form}} to {scale * high:{form}}"
    return (one["method"], one["control"], f"{scale * one['effect']:{form}}", interval, str(one["n"]),
            one["verdict"].upper())  # fmt: skip


def _cost_row(name: str, arm: Mapping[str, Any], percent: bool) -> tuple[str, ...]:
    costs = arm["costs"]
    score = f"{100 * arm['score']:.1f} %" if percent else f"{-arm['score']:.4f}"
    return (name, score, str(arm["n"]), duration(costs["train_seconds"]), octets(costs["peak_bytes"]),
            count(costs["flops"]), count(costs["parameters"]), count(costs["trained"]))  # fmt: skip


def scope_sentence(scope: Mapping[str, Any]) -> str:
    """``0.7 M parameters (0.6 M trained), 4,800 samples, …``"""
    parts = []
    if scope.get("parameters"):
        parts.append(f"{count(scope['parameters'])} parameters ({count(scope['trained'])} trained)")
    if scope.get("samples"):
        parts.append(f"{scope['samples']:,} samples, {scope['tokens']:,} tokens")
    if scope.get("questions"):
        parts.append(f"{scope['questions']:,} questions a seed")
    return "; ".join([*parts, "data " + ", ".join(scope["data"]), scope["hardware"]])
