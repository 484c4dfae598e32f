"""``vitrail data look FILE|RECIPE``: one HTML page of records with their pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, natural, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="JSONL or Parquet; or a recipe, with --source")
    parser.add_argument("--source", metavar="NAME", help="the recipe's data source to look at")
    parser.add_argument("--questions", action="store_true", help="of a recipe: questions, not conversations")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the page goes")
    parser.add_argument("-n", type=positive, default=60, help="records to show (default 60)")
    parser.add_argument("--seed", type=natural, default=0, help="which ones (default 0)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from vitrail.data.look import contact_sheet

    source = _source(args)
    name = f"{args.file}-{args.source}" if args.source else args.file
    out = args.out or Path(f"{Path(name).name}.html")
    contact_sheet(source, out, n=args.n, seed=args.seed)
    if args.json:
        print_json({"page": str(out), "records": len(source)})
    else:
        print(f"{out}: {min(args.n, len(source))} of {len(source):,} records. Open it in a browser.")
    return 0


def _source(args: argparse.Namespace) -> Any:
    if args.source is None:
        from vitrail.data.readers import open_source

        return open_source(args.file, on_error="set_aside")
    from vitrail.recipes.loading import load
    from vitrail.recipes.sources import open_data
    from vitrail.registry import nearest

    recipe = load(args.file)
    if args.source not in recipe.data:
        hint = nearest(args.source, list(recipe.data))
        raise ValueError(f"the recipe has no data source {args.source!r}; {hint}")
    return open_data(recipe, args.source, "questions" if args.questions else "conversations")
