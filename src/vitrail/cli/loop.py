"""``vitrail loop FILE [key=value ...]``: a recipe with a ``loop``, round after round; or what it will take."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, add_overrides, add_run, add_threads
from vitrail.cli.running import carry_out


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "recipe", help="a recipe with a field 'loop': a shipped name, a YAML file, or a run folder"
    )
    add_overrides(parser)
    parser.add_argument(
        "--plan", action="store_true", help="say what would be done and asked, and do nothing"
    )
    add_run(parser)
    parser.add_argument("--quiet", action="store_true", help="print errors alone")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Plan it, or run it and show its rounds. ValueError for a recipe without a loop."""
    from vitrail.recipes.loading import load
    from vitrail.registry import names

    recipe = load(args.recipe, args.overrides)
    if recipe.loop is None:
        raise ValueError(
            f"the recipe {recipe.name!r} has no 'loop', so nothing would be repeated; give it one "
            f"({', '.join(names('loop'))}; docs/loops.md), or run it with: vitrail train {args.recipe}"
        )
    if args.plan:
        return _plan(args, recipe)
    began_here = (Path(args.recipe) / "recipe.yaml").is_file()
    folder = args.run or (Path(args.recipe) if began_here else Path("runs") / recipe.name)
    return carry_out(recipe, folder, args)


def _plan(args: argparse.Namespace, recipe: object) -> int:
    from vitrail.cli.plan import print_loop, print_plan
    from vitrail.recipes.looping import forecast
    from vitrail.recipes.plan import plan

    prepare_libraries(args.threads)
    planned = plan(recipe)  # type: ignore[arg-type]
    if args.json:
        print_json({**planned.as_json(), "loop": forecast(recipe, planned)})  # type: ignore[arg-type]
    else:
        print_plan(planned)
        print_loop(recipe, planned)
    return 0
