"""``vitrail train RECIPE [key=value ...]``, or ``vitrail train --data FILE`` on one's own conversations."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.own_data import add_own_data, find_recipe
from vitrail.cli.parsing import add_json, add_overrides, add_run, add_threads
from vitrail.cli.running import carry_out


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "recipe", nargs="?", help="a shipped recipe's name, a YAML file, or a run folder to go on with"
    )
    add_overrides(parser)
    add_own_data(parser)
    add_run(parser)
    parser.add_argument("--quiet", action="store_true", help="print errors alone")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find the recipe, run it, say what comes next."""
    recipe, name = find_recipe(args)
    began_here = name is not None and (Path(name) / "recipe.yaml").is_file()
    folder = args.run or (Path(str(name)) if began_here else Path("runs") / recipe.name)
    return carry_out(recipe, folder, args)
