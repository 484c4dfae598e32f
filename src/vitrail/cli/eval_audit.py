"""``vitrail eval audit``: is a benchmark about its pictures, is it leaked, does it favour a place?"""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "seen", type=Path, metavar="FILE", help="answers with pictures: …/evaluation/NAME/trained.jsonl"
    )
    parser.add_argument("--blind", type=Path, metavar="FILE", help="without (default: blind.jsonl beside it)")
    parser.add_argument("--language", type=Path, metavar="FILE", help="of the language model alone: leakage")
    parser.add_argument("--circular", type=Path, metavar="FILE", help="under every rotation: position bias")
    parser.add_argument(
        "--unseen",
        type=Path,
        metavar="FILE",
        help="items that no model has seen, read with --inferencer membership as FILE was: contamination",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print every audit that the files allow."""
    from dataclasses import asdict

    from vitrail.evaluation.mme_survey.audits import audit

    blind = args.blind or args.seen.with_name("blind.jsonl")
    files = {"seen": args.seen, "language": args.language, "circular": args.circular, "unseen": args.unseen}
    if args.blind is not None or blind.is_file():
        files["blind"] = blind
    found = audit({name: path for name, path in files.items() if path is not None})
    if args.json:
        print_json([asdict(one) for one in found])
        return 0
    rows = []
    for one in found:
        ends = one.interval
        shown = "not defined" if one.value is None else f"{100 * one.value:.1f}"
        rows.append(
            (one.name, shown + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else ""), one.n)
        )
    print_table("", ("audit", "%", "n"), rows, right=(1, 2))
    return 0
