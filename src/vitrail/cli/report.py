"""``vitrail report RUN``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a run's folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: report.html in the run)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Build the report from the run's files alone."""
    from vitrail.recipes.report import write_report

    out = write_report(args.run_folder, args.out)
    if args.json:
        print_json({"report": str(out)})
    else:
        print(f"{out}: open it in a browser; it needs no network")
    return 0
