"""``vitrail train RECIPE [key=value ...]``, or ``vitrail train --data FILE`` on one's own conversations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.parsing import add_json, add_overrides, add_threads
from vitrail.cli.running import carry_out


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "recipe", nargs="?", help="a shipped recipe's name, a YAML file, or a run folder to go on with"
    )
    add_overrides(parser)
    own = parser.add_argument_group("on your own data, without writing a recipe")
    own.add_argument("--data", metavar="FILE", help="conversations, JSONL or Parquet")
    own.add_argument("--model", metavar="MODEL", help="begin with this run's or model's folder or hub name")
    own.add_argument("--eval", metavar="FILE", help="multiple-choice questions to measure it on")
    parser.add_argument("--run", type=Path, metavar="DIR", help="the run's folder (default: runs/<name>)")
    parser.add_argument(
        "--resume",
        choices=("auto", "never"),
        default="auto",
        help="auto (default): go on where the run stopped; never: refuse a folder that holds a run",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors alone")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find the recipe, run it, say what comes next."""
    recipe, folder = find_recipe(args)
    return carry_out(recipe, folder, args)


def find_recipe(args: argparse.Namespace) -> tuple[Any, Path]:
    """The checked recipe and the run's folder that the arguments ask for."""
    from vitrail.recipes import loading

    words = list(args.overrides)
    name = args.recipe
    if args.data is not None:
        if name is not None and "=" in name:  # no recipe was named: the first word is an override
            words.insert(0, name)
            name = None
        overrides = {**own_data(args), **dict(map(_split, words))}
        recipe = loading.load(name or ("tune" if args.model else "own-data"), overrides)
    else:
        for option in ("model", "eval"):
            if getattr(args, option) is not None:
                raise ValueError(f"--{option} goes with --data; a recipe has its own fields, see recipe show")
        if name is None:
            raise ValueError("name a recipe (vitrail recipe list shows them), or give --data FILE")
        recipe = loading.load(name, words)
    began_here = name is not None and (Path(name) / "recipe.yaml").is_file()
    return recipe, args.run or (Path(name) if began_here else Path("runs") / recipe.name)


def _split(word: str) -> tuple[str, Any]:
    from vitrail.recipes.overrides import parse

    return parse(word)


def own_data(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a shipped recipe that ``--data``, ``--model`` and ``--eval`` stand for."""
    fields: dict[str, Any] = {"name": Path(args.data).stem, "data.mine.path": args.data}
    if args.model:
        fields["model"] = {"path": args.model, "lora": {}}
    if args.eval:
        fields["data.questions"] = {"kind": "file", "path": args.eval}
        fields["evaluation"] = [{"name": "mine", "data": "questions"}]
    return fields
