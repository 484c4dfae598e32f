"""``vitrail quickstart``: the shipped recipe from nothing to a model that talks, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.parsing import add_json, add_overrides, add_threads

RECIPE = "quickstart"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_overrides(parser)
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder (default: runs/quickstart)")
    parser.add_argument("--recipe", default=RECIPE, help="another recipe to go the same way with")
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="as of vitrail train")
    parser.add_argument("--quiet", action="store_true", help="print errors alone")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Show what is going to happen, then let it happen."""
    from vitrail.cli.running import carry_out
    from vitrail.recipes.loading import load

    recipe = load(args.recipe, args.overrides)
    folder = args.run or Path("runs") / recipe.name
    planned = None if args.quiet or args.json else _announce(recipe, args.threads)
    return carry_out(recipe, folder, args, planned)


def _announce(recipe: Any, threads: int | None) -> Any:
    """Print the plan, and return it."""
    from vitrail.cli.plan import print_plan
    from vitrail.recipes.plan import plan

    prepare_libraries(threads)
    print("This is what is going to happen (nothing has been trained yet):\n")
    planned = plan(recipe)
    print_plan(planned)
    print("\nIt may be stopped with Ctrl-C and started again: finished work is kept.\n", flush=True)
    return planned
