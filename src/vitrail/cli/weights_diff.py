"""``vitrail weights diff PLUS MINUS [OUT]``: how far two checkpoints lie apart, and their difference as a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive
from vitrail.cli.weights_add import add_selection


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("plus", help="a model's folder, a run, or a hub name")
    parser.add_argument("minus", help="what is taken from it")
    parser.add_argument("out", nargs="?", type=Path, help="write the difference into this new folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="of the values that are written (float32)",
    )
    parser.add_argument(
        "--depth",
        type=positive,
        default=3,
        metavar="N",
        help="parts of a name that make a row of the table (3)",
    )
    add_selection(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print norms by module, and write the difference if asked to."""
    from vitrail.models.weights.checkpoint import Checkpoint
    from vitrail.models.weights.difference import Difference
    from vitrail.models.weights.norms import norms
    from vitrail.models.weights.streaming import write_difference

    if args.out is not None and args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    plus, minus = Checkpoint.open(args.plus), Checkpoint.open(args.minus)
    difference = Difference(plus, minus, only=tuple(args.only), exclude=tuple(args.exclude))
    rows = norms(difference, args.depth)
    if args.out is not None:
        write_difference(difference, args.out, args.dtype)
    if args.json:
        print_json({"fingerprint": difference.fingerprint, "modules": [vars(row) for row in rows]})
        return 0
    shown = [(row.module, f"{row.norm:.4g}", f"{row.relative:.2%}", f"{row.unchanged:.1%}") for row in rows]
    columns = ("tensors", "norm of the difference", "of the minus side's", "values unchanged")
    print_table(f"{args.plus} − {args.minus}", columns, shown, right=(1, 2, 3))
    if args.out is not None:
        print(f"{args.out}: the difference of {len(difference.names):,} tensors, {args.dtype}")
    return 0
