"""``vitrail eval report RESULT …``: one HTML page of results that opens from disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, natural


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT",
        help="files of answers, or folders of them; the first model is the one that the page is about",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="where the questions are (default: where they were when asked)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    parser.add_argument("--title", default="", help="default: the model and its evaluations")
    parser.add_argument(
        "--gallery",
        type=natural,
        default=48,
        metavar="N",
        help="mistakes shown at most (default 48; 0: none)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page from files of answers alone, and the pictures that they were about."""
    from vitrail.evaluation.result_page import write_page

    out = write_page(args.results, args.out, data=args.data, gallery=args.gallery, title=args.title)
    if args.json:
        print_json({"report": str(out)})
    else:
        print(f"{out}: open it in a browser; it needs no network")
    return 0
