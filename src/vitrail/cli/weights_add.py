"""``vitrail weights add BASE OUT --residual TUNED UNTUNED``: add differences of checkpoints to a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import count, print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("base", help="what is added to: a model's folder, a run, or a hub name")
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument(
        "--residual",
        nargs=2,
        action="append",
        default=[],
        metavar=("TUNED", "UNTUNED"),
        help="add TUNED minus UNTUNED; may be given several times",
    )
    parser.add_argument(
        "--delta", action="append", default=[], metavar="FOLDER", help="add a difference that was saved"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="the factor of what is added (1, as in the paper)"
    )
    add_selection(parser)
    parser.add_argument(
        "--into", default="", metavar="PREFIX", help="put in front of names, as in language_model."
    )
    add_json(parser)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """``--only`` and ``--exclude``."""
    for name, what in (("only", "take these tensors alone"), ("exclude", "leave these tensors out")):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar="NAMES",
            help=f"{what}: the beginning of names, or a pattern with *; may be given several times",
        )


def run(args: argparse.Namespace) -> int:
    """Add, and say what changed."""
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.difference import Difference, SavedDifference
    from vitrail.models.weights.streaming import add

    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    chosen = {"only": tuple(args.only), "exclude": tuple(args.exclude), "into": args.into}
    if args.delta and (args.only or args.exclude):
        raise ValueError("--only and --exclude go with --residual; a saved difference (--delta) has its own")
    base = Checkpoint.open(args.base)
    differences = [
        Difference(Checkpoint.open(plus), Checkpoint.open(minus), args.scale, **chosen)
        for plus, minus in args.residual
    ]
    saved = [SavedDifference.open(folder, args.scale, args.into) for folder in args.delta]
    done = add(base, [*differences, *saved], args.out)
    told = {
        "folder": str(args.out),
        "tensors": done.tensors,
        "changed": done.changed,
        "parameters": done.parameters,
        "notes": list(done.notes),
    }
    if args.json:
        print_json(told)
        return 0
    for note in done.notes:
        print(f"note: {note}")
    print(
        f"{args.out}: {done.changed:,} of {done.tensors:,} tensors changed, {count(done.parameters)} parameters in all"
    )
    return 0
