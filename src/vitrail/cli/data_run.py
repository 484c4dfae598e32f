"""``vitrail data run PIPELINE --out DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("pipeline", type=Path, help="a YAML file: input, operations, output")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to fill")
    parser.add_argument(
        "--engine", choices=("process", "cores", "ray"), default="cores",
        help="one process, all cores (default), or a Ray cluster; the result is the same",
    )  # fmt: skip
    parser.add_argument("--workers", type=positive, metavar="N", help="processes (default: one a core)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline, or go on with it, and print the funnel."""
    from vitrail.curation.funnel import COLUMNS, rows_of
    from vitrail.curation.pipeline import read_pipeline
    from vitrail.curation.running import run as run_pipeline

    pipeline = read_pipeline(args.pipeline)
    ran = run_pipeline(
        pipeline, args.out, base=args.pipeline.parent, engine=args.engine, workers=args.workers,
        say=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    if args.json:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows_of(ran.counts)]
        print_json(
            {"folder": str(ran.folder), "files": [str(path) for path in ran.files], "operations": rows}
        )
        return 0
    print_table("", COLUMNS, rows_of(ran.counts), right=range(1, len(COLUMNS)))
    print(f"{args.out}: {ran.counts[-1].kept:,} documents in {len(ran.files):,} files.")
    return 0
