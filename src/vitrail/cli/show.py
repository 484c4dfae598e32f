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
    from vitrail.recipes.shapes import shapes

    described = describe(shapes(_model_of(args.model)), layers=args.layers)
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
    """The parts and where they are, how pictures become tokens, and what the model can do."""
    from vitrail.recipes.anatomy_text import sentence

    family, language = described["family"], described["language"]
    rows = [
        (part["name"], part["kind"], part["path"], count(part["parameters"])) for part in described["parts"]
    ]
    rows.append(("all", described["class"], "", count(described["parameters"])))
    print_table(
        f"{title}: {family['about']} ({family['kind']})",
        ("part", "kind", "at", "parameters"),
        rows,
        right=(3,),
    )
    print_table("", ("inside", "what"), list(described["places"].items()))
    kinds = ", ".join(f"{number} {kind}" for kind, number in language.get("kinds", {}).items())
    print(
        f"{language['family']}: {language['layers']} layers{f' ({kinds})' if kinds else ''}, "
        f"width {language['width']}, "
        f"{language['vocabulary']:,} words; weights {described['dtype']}"
    )
    if sentence(described):
        print(sentence(described))
    _print_pictures(described)
    _print_abilities(described)


def _print_pictures(described: dict[str, Any]) -> None:
    if described.get("placeholder") is not None:
        print(f"a visual token stands at each placeholder, token {described['placeholder']}")
    if "pictures_unknown" in described:
        print(f"what a picture becomes is not known: {described['pictures_unknown']}")
    if "pictures" in described:
        print()
        rows = [(f"{one['width']} × {one['height']}", *_picture(one)) for one in described["pictures"]]
        print_table("pictures", ("pixels", "tiles", "of", "tokens"), rows, right=(1, 3))


def _picture(one: dict[str, Any]) -> tuple[str, str, str]:
    if "refused" in one:
        return "–", one["refused"], "–"
    sizes = ", ".join(f"{width} × {height}" for width, height in one["tile_sizes"])
    return str(one["tiles"]), sizes, f"{one['tokens']:,}"


def _print_abilities(described: dict[str, Any]) -> None:
    if "can" not in described:
        return
    rows = [("positions", described["positions"], "")]
    rows += [
        (name.replace("_", " "), "yes" if one["can"] else "no", one["reason"])
        for name, one in described["can"].items()
    ]
    print_table("", ("", "", "because, or how"), rows)
