"""``vitrail recipe show NAME|FILE [key=value ...]``."""

from __future__ import annotations

import argparse
from typing import Any

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, add_overrides


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("recipe", help="a shipped recipe's name, a YAML file, or a run folder")
    add_overrides(parser)
    parser.add_argument(
        "--source", action="store_true", help="print the file as it was written, comments included"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check the recipe and print it with every default filled in."""
    from vitrail.recipes import loading

    recipe = loading.load(args.recipe, args.overrides)
    if args.json:
        print_json(recipe.model_dump(mode="json"))
    elif args.source:
        print(loading.text_of(args.recipe)[0], end="")
    else:
        print(loading.dump(recipe), end="")
        print("".join(f"# {line}\n" for line in _trees(recipe)), end="")
    return 0


def _trees(recipe: Any) -> list[str]:
    """The mixtures that stages train on, drawn; where sizes decide, they are not known before data is read."""
    from vitrail.recipes.mixing import is_mixture, sizes_decide, tree

    lines: list[str] = []
    for name in dict.fromkeys(stage.data for stage in recipe.stages):
        if is_mixture(recipe.data[name]):
            by_size = sizes_decide(recipe, name)
            note = f"{', '.join(by_size)}: shares follow sizes ('vitrail plan' knows them)" if by_size else ""
            lines += [*tree(recipe, name).text().splitlines(), *filter(None, [note])]
    return lines
