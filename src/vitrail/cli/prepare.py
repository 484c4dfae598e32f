"""``vitrail prepare RECIPE``: tokens and features of its data, in the run's folder, before anything trains."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.own_data import add_own_data, find_recipe
from vitrail.cli.parsing import add_json, add_overrides, add_threads


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("recipe", nargs="?", help="a shipped recipe's name, a YAML file, or a run folder")
    add_overrides(parser)
    add_own_data(parser)
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder (default: runs/<name>)")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare, and say how to train."""
    from vitrail.recipes.preparing import prepare
    from vitrail.training.progress import make_progress

    recipe, name = find_recipe(args)
    began_here = name is not None and (Path(name) / "recipe.yaml").is_file()
    folder = args.run or (Path(str(name)) if began_here else Path("runs") / recipe.name)
    prepare_libraries(args.threads)
    again = shlex.quote(str(folder))
    try:
        counts = prepare(recipe, folder, make_progress("none" if args.json else "auto"))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Nothing is lost; go on with: vitrail prepare {again}") from None
    if args.json:
        print_json({"run": str(folder), "data": counts})
    else:
        print(f"next: vitrail train {again}")
    return 0
