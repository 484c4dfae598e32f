"""``vitrail data check FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="a file or folder of records: JSON, Parquet, Arrow, CSV, tar shards")
    parser.add_argument("--no-images", action="store_true", help="do not open the pictures")
    parser.add_argument("--show", type=positive, default=20, metavar="N", help="bad rows to print (20)")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where paths begin (default: the file's folder)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read every record and say what was recognised and what is wrong; exit code 1 if anything is."""
    from vitrail.data.readers import open_source

    source = open_source(args.file, on_error="set_aside", check_images=not args.no_images, root=args.root)
    aside = source.set_aside
    if args.json:
        rows = [
            {"file": row.file, "line": row.line, "id": row.id, "field": row.field, "reason": row.reason}
            for row in aside.rows
        ]
        print_json(
            {
                "file": args.file,
                "container": source.container,
                "formats": source.formats,
                "lines_are": f"{source.word}s",
                "seen": aside.seen,
                "used": aside.used,
                "blank_lines": aside.blank_lines,
                "set_aside": rows,
            }
        )
        return 1 if aside.rows else 0
    if aside.rows:
        shown = [(row.file, row.line, row.field, row.reason) for row in aside.rows[: args.show]]
        print_table("", ("file", source.word, "field", "what is wrong"), shown, right=(1,))
        if len(aside.rows) > args.show:
            print(f"… and {len(aside.rows) - args.show:,} more (--show N, or --json for all)")
    formats = ", ".join(f"{name} ({count:,})" for name, count in source.formats.items()) or "none"
    print(f"{args.file}: {source.container}; recognised: {formats}. {aside.sentence()}")
    return 1 if aside.rows else 0
