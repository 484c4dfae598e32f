"""``vitrail recipe schema [--out FILE]``: the command that makes ``docs/recipe.schema.json``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there (default: print)")


def run(args: argparse.Namespace) -> int:
    """Print or write the schema."""
    from vitrail.recipes.schema import json_schema
    from vitrail.storage.atomic import write_text

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if args.out is None:
        print(text, end="")
    else:
        write_text(args.out, text)
        print(f"wrote {args.out}. In a recipe's first line: # yaml-language-server: $schema={args.out}")
    return 0
