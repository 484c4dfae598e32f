"""``vitrail eval list``: benchmarks by the abilities they test, and what a choice of them leaves untested."""

from __future__ import annotations

import argparse

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("chosen", nargs="*", metavar="NAME", help="which abilities do these leave untested?")
    parser.add_argument(
        "--ability", help="only benchmarks of this ability: ocr, foundation/video, self_analysis …"
    )
    parser.add_argument("--modality", help="only image, multi_image or video")
    parser.add_argument("--judge", help="only those that need no other judge than script, llm or human")
    parser.add_argument("--all", action="store_true", help="also those that are known but cannot be run here")
    parser.add_argument("--need", metavar="A,B", help="recommend a small set for these abilities")
    parser.add_argument(
        "--samples", type=positive, metavar="N", help="with --need: questions at most, all together"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List, tell what is missing, or recommend."""
    from vitrail.evaluation.mme_survey.catalogue import read

    shown = read().filter(args.ability, args.modality, args.judge, runnable=not args.all)
    if args.need is not None:
        return _recommend(args, shown)
    if args.samples is not None:
        raise ValueError("--samples goes with --need; it bounds what is recommended")
    if args.chosen:
        return _untested(args)
    if args.json:
        print_json([entry.model_dump(mode="json") for entry in shown])
        return 0
    columns = ("ability", "name", "title", "questions", "answer", "judge", "runs here")
    rows = [(*row[:6], "yes" if row[6] else "") for row in shown.table()]
    print_table("", columns, rows, right=(3,))
    hidden = len(read()) - len(read().filter(runnable=True))
    print(
        "vitrail eval MODEL --benchmark NAME --data DIR asks one; NAME … tells what a choice leaves untested."
    )
    if not args.all:
        print(f"{hidden} more are known (--all); those cannot be run here, and their figures are unchecked.")
    return 0


def _untested(args: argparse.Namespace) -> int:
    from vitrail.evaluation.mme_survey.catalogue import read
    from vitrail.evaluation.mme_survey.taxonomy import about

    covered = read().coverage(args.chosen)
    if args.json:
        print_json({"covered": covered, "untested": [leaf for leaf, by in covered.items() if not by]})
        return 0
    rows = [(leaf, ", ".join(by) or "untested", about(leaf)) for leaf, by in covered.items()]
    print_table("", ("ability", "tested by", "about"), rows)
    count = sum(not by for by in covered.values())
    print(f"{count} of {len(covered)} abilities are untested by {', '.join(args.chosen)}")
    return 0


def _recommend(args: argparse.Namespace, shown: object) -> int:
    from vitrail.evaluation.mme_survey.catalogue import Catalogue

    assert isinstance(shown, Catalogue)
    need = [part.strip() for part in args.need.split(",") if part.strip()]
    found = shown.recommend(need, samples=args.samples, judge=args.judge != "script")
    if args.json:
        print_json({"chosen": dict(found.chosen), "unmet": found.unmet})
        return 0
    print_table("", ("name", "why"), found.chosen)
    if found.unmet:
        print(f"cannot be met: {', '.join(found.unmet)}")
    return 0
