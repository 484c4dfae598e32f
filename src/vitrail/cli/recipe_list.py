"""``vitrail recipe list``."""

from __future__ import annotations

import argparse

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the shipped recipes."""
    from vitrail.recipes.loading import shipped

    recipes = shipped()
    if args.json:
        print_json([{"name": name, "about": about} for name, about in recipes.items()])
    else:
        print_table("", ("recipe", "about"), list(recipes.items()))
        print("vitrail recipe show NAME prints one; vitrail train NAME runs it.")
    return 0
