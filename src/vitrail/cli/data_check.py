"""``vitrail data check FILE``."""

from __future__ import annotations

import argparse

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="JSONL or Parquet")
    parser.add_argument("--no-images", action="store_true", help="do not open the pictures")
    parser.add_argument("--show", type=positive, default=20, metavar="N", help="bad rows to print (20)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read every record and say what is wrong; exit code 2 if anything is."""
    from vitrail.data.readers import open_source
    from vitrail.data.sources import set_aside_of

    source = open_source(args.file, on_error="set_aside", check_images=not args.no_images)
    aside = set_aside_of(source)
    if args.json:
        rows = [{"line": row.line, "field": row.field, "reason": row.reason} for row in aside.rows]
        print_json({"file": args.file, "seen": aside.seen, "used": aside.used, "set_aside": rows})
    else:
        if aside.rows:
            shown = [(row.line, row.field, row.reason) for row in aside.rows[: args.show]]
            print_table("", ("line", "field", "what is wrong"), shown, right=(0,))
        print(f"{args.file}: {aside.sentence()}")
    return 2 if aside.rows else 0
