"""``vitrail recipe continual RECIPE DATA DATA …``: a recipe whose datasets come one after the other."""

from __future__ import annotations

import argparse

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "recipe", help="a shipped recipe's name, or a YAML file; its last stage learns each dataset"
    )
    parser.add_argument(
        "datasets", nargs="+", metavar="data", help="names of the recipe's data, in their order"
    )
    parser.add_argument(
        "--schedule",
        choices=("infinite", "repeated_cosine"),
        help="of every stage (default: the recipe's own)",
    )
    parser.add_argument(
        "--anneal",
        type=float,
        default=0.0,
        metavar="X",
        help="steps, or share of them, in which the last stage anneals",
    )
    parser.add_argument(
        "--replay",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of each batch, from the datasets before (0)",
    )
    parser.add_argument(
        "--branch-steps",
        type=positive,
        metavar="N",
        help="anneal a branch of N steps behind each other stage",
    )
    parser.add_argument(
        "--probe", nargs="+", metavar="NAME", help="held-out data, one for each dataset in its order"
    )
    parser.add_argument(
        "--every", type=float, default=0.1, metavar="X", help="steps between probes, or share (0.1)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the recipe."""
    from vitrail.recipes import loading
    from vitrail.recipes.continual import continual

    base = loading.plain(loading.load(args.recipe))
    made = continual(
        base,
        args.datasets,
        schedule=None if args.schedule is None else {"name": args.schedule},
        replay=args.replay,
        anneal=args.anneal,
        branch_steps=args.branch_steps,
        probes=None if args.probe is None else {"data": args.probe, "every": args.every},
    )
    if args.json:
        print_json(made)
    else:
        print(loading.dump(loading.load(made)), end="")
    return 0
