"""``vitrail data convert IN OUT --to FORMAT``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive

TARGETS = ("jsonl", "parquet", "datasets", "webdataset", "trl", "swift", "llava", "sharegpt", "openai")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="a file or folder of records in any format that is read")
    parser.add_argument("out", type=Path, help="the new file (datasets, webdataset: folder)")
    parser.add_argument("--to", required=True, choices=TARGETS, metavar="FORMAT", help=", ".join(TARGETS))
    parser.add_argument(
        "--images",
        choices=("folder", "inline"),
        help="pictures beside the file, or as bytes in it (default: as usual)",
    )
    parser.add_argument(
        "--on-error",
        choices=("raise", "set_aside"),
        default="raise",
        help="raise (default): stop at what cannot be read or said; set_aside: leave it out and count it",
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where paths begin (default: the file's folder)"
    )
    parser.add_argument(
        "--show", type=positive, default=20, metavar="N", help="records left out to print (20)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file and say how many records it holds, and which were left out."""
    from vitrail.data.readers import convert, open_source

    if args.out.exists() and not args.out.is_file():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    source = open_source(args.file, on_error=args.on_error, root=args.root)
    written = convert(source, args.out, args.to, images=args.images, on_error=args.on_error)
    left_out = [*source.set_aside.rows, *written.rows]
    if args.json:
        rows = [
            {"place": f"{row.word} {row.line}", "field": row.field, "reason": row.reason} for row in left_out
        ]
        print_json({"file": str(args.out), "to": args.to, "written": written.used, "set_aside": rows})
        return 0
    if left_out:
        shown = [(f"{row.word} {row.line}", row.field, row.reason) for row in left_out[: args.show]]
        print_table("", ("where", "field", "why it is left out"), shown)
    aside = f", {len(left_out):,} left out" if left_out else ""
    print(f"{args.out}: {written.used:,} records as {args.to}{aside}.")
    return 0
