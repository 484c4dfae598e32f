"""``--data``, ``--model``, ``--root`` and ``--eval``: a recipe on one's own files, without writing one."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any


def add_own_data(parser: argparse.ArgumentParser) -> None:
    """The options."""
    own = parser.add_argument_group("on your own data, without writing a recipe")
    own.add_argument(
        "--data", metavar="FILE", help="conversations, in any format that is read (docs/data.md)"
    )
    own.add_argument("--model", metavar="MODEL", help="begin with this run's or model's folder or hub name")
    own.add_argument(
        "--root", metavar="DIR", help="where relative paths in --data begin (default: the file's folder)"
    )
    own.add_argument("--eval", metavar="FILE", help="multiple-choice questions to measure it on")


def find_recipe(args: argparse.Namespace) -> tuple[Any, str | None]:
    """The checked recipe that the arguments ask for, and the word that named it.

    Without a name it is ``tune`` for ``--model`` and ``own-data`` without. ValueError if nothing says which.
    """
    from vitrail.recipes import loading

    words, name = list(args.overrides), args.recipe
    if args.data is None:
        for option in ("model", "root", "eval"):
            if getattr(args, option) is not None:
                raise ValueError(f"--{option} goes with --data; a recipe has its own fields, see recipe show")
        if name is None:
            raise ValueError("name a recipe (vitrail recipe list shows them), or give --data FILE")
        return loading.load(name, words), name
    if name is not None and "=" in name:  # no recipe was named: the first word is an override
        words.insert(0, name)
        name = None
    base = loading.load(name or ("tune" if args.model else "own-data"))
    fields = {} if name else {"name": run_name(args.data)}
    own = {**_fields(args, base), **(_without_connector(args, base) if args.model else {})}
    return loading.load(base, {**fields, **own, **dict(map(_split, words))}), name


def run_name(path: str) -> str:
    """A run's name from that of a file or folder: letters, digits, ``.``, ``_`` and ``-``."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem or Path(path).resolve().name)
    return plain.strip("._-")[:80] or "mine"


def _fields(args: argparse.Namespace, recipe: Any) -> dict[str, Any]:
    """The fields of ``recipe`` that the options stand for."""
    source = source_of_own(recipe)
    fields: dict[str, Any] = {f"data.{source}.path": args.data}
    if args.root:
        fields[f"data.{source}.root"] = args.root
    if args.model and recipe.model.path is not None:
        fields["model.path"] = args.model
    elif args.model:
        from vitrail.recipes.loading import plain

        fields["model"] = {"path": args.model, "lora": plain(recipe.model.lora) or {}}
    if args.eval:
        fields["data.questions"] = {"kind": "file", "path": args.eval}
        fields["evaluation"] = [{"name": "mine", "data": "questions"}]
    return fields


def _without_connector(args: argparse.Namespace, recipe: Any) -> dict[str, Any]:
    """The fields that leave ``connector`` out of the stages that train other parts, too, where the model has none."""
    stages = [stage for stage in recipe.stages if "connector" in stage.trains and len(stage.trains) > 1]
    if not stages or _has_connector(args.model):
        return {}
    fields: dict[str, Any] = {}
    for stage in stages:
        fields[f"stages.{stage.name}.trains"] = [part for part in stage.trains if part != "connector"]
        if isinstance(stage.learning_rate, dict):
            fields[f"stages.{stage.name}.learning_rate"] = {
                part: rate for part, rate in stage.learning_rate.items() if part != "connector"
            }
    if not (getattr(args, "quiet", False) or getattr(args, "json", False)):
        names = ", ".join(stage.name for stage in stages)
        print(f"{args.model} has no connector, so {names} trains the other parts alone", file=sys.stderr)
    return fields


def _has_connector(model: str) -> bool:
    """As far as the model's description tells; where there is none, what is wrong is said when it is loaded."""
    from vitrail.models.families.table import family_of
    from vitrail.models.loading import load_config
    from vitrail.recipes.shapes import source_of

    try:
        return bool(family_of(load_config(source_of(model))).connector)
    except ValueError:
        return True


def source_of_own(recipe: Any) -> str:
    """The data source that a file of one's own takes the place of: ``mine``, or the only file that trains."""
    trained = {stage.data for stage in recipe.stages}
    files = [name for name in recipe.data if name in trained and recipe.data[name].kind == "file"]
    found = ["mine"] if "mine" in files else files
    if len(found) != 1:
        which = f"several ({', '.join(found)})" if found else "none"
        raise ValueError(
            f"--data takes the place of the file that a recipe trains on, of which {recipe.name!r} has {which}; set "
            "data.<name>.path instead"
        )
    return found[0]


def _split(word: str) -> tuple[str, Any]:
    from vitrail.recipes.overrides import parse

    return parse(word)
