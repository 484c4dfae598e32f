"""``vitrail data report DIR``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("folder", type=Path, help="what vitrail data run made")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: report.html in the folder)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the funnel by reason and write the page with samples."""
    from vitrail.curation.funnel import COLUMNS, page_of, read_funnel, reasons_of, rows_of
    from vitrail.storage.atomic import write_text

    counts = read_funnel(args.folder)
    if args.json:
        print_json({"operations": [one.as_json() for one in counts]})
        return 0
    target = args.out or args.folder / "report.html"
    write_text(target, page_of(args.folder).html())
    print_table("", COLUMNS, rows_of(counts), right=range(1, len(COLUMNS)))
    print_table("", ("operation", "what", "reason", "count"), reasons_of(counts), right=(3,))
    print(f"{target}: the same by language, with samples.")
    return 0
