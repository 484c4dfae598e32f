"""``vitrail show MODEL|RUN|RECIPE``: where the seams are, and how many parameters each part has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.output import count, print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, a hub name, or a recipe's name or file")
    parser.add_argument("--layers", action="store_true", help="every module that holds parameters")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Build the model's shapes (no weights are read) and print its parts."""
    from vitrail.recipes.anatomy_text import describe
    from vitrail.recipes.assembly import on_meta

    model = on_meta(_model_of(args.model))
    described = describe(model, layers=args.layers)
    if args.json:
        print_json({"model": args.model, **described})
        return 0
    print_anatomy(described, title=args.model)
    if args.layers:
        fields = ("name", "kind", "shape")
        rows = [(*(row[name] for name in fields), count(row["parameters"])) for row in described["layers"]]
        print_table("", ("module", "kind", "weights", "parameters"), rows, right=(3,))
    return 0


def _model_of(name: str) -> Any:
    from vitrail.recipes.loading import load, shipped
    from vitrail.recipes.schema import Model

    path = Path(name)
    has_model = (path / "config.json").is_file() or (path / "model" / "config.json").is_file()
    if not has_model and (path.is_file() or name in shipped() or (path / "recipe.yaml").is_file()):
        return load(name).model
    if path.exists() and not has_model:
        raise ValueError(f"{path} holds neither a model (config.json) nor a run (recipe.yaml)")
    return Model(path=name)


def print_anatomy(described: dict[str, Any], title: str) -> None:
    """The table of parts, and in one line how a picture travels."""
    from vitrail.recipes.anatomy_text import sentence

    rows = [(part["name"], part["kind"], count(part["parameters"])) for part in described["parts"]]
    rows.append(("all", "", count(described["parameters"])))
    print_table(title, ("part", "kind", "parameters"), rows, right=(2,))
    if sentence(described):
        print(sentence(described))
