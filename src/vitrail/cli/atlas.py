"""``vitrail atlas build``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "--to", type=Path, default=Path("atlas"), metavar="DIR", help="the site's folder (default: atlas)"
    )
    parser.add_argument(
        "--files",
        metavar="URL",
        help="where links to files begin (default: the checkout, where there is one)",
    )
    parser.add_argument(
        "--address", default="", metavar="URL", help="where the site will be published, for the feed"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the site."""
    for name in ("files", "address"):
        value = getattr(args, name)
        if value and not value.startswith(("https://", "http://")):
            raise ValueError(f"--{name} {value!r} is not an address; begin it with https://")
    from vitrail.papers import read
    from vitrail.serving.atlas import build

    papers = read()
    first = build(args.to, papers=papers, files=args.files, address=args.address)
    if args.json:
        print_json({"atlas": str(first), "papers": len(papers)})
    else:
        print(f"{first}: open it in a browser; it needs no network")
    return 0
