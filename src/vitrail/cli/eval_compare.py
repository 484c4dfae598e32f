"""``vitrail eval compare A B``: two files of results row by row, whichever tool wrote them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, natural


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    for name in ("first", "second"):
        parser.add_argument(
            name, type=Path, metavar="FILE", help="a file of answers, lmms-eval's samples, VLMEvalKit's table"
        )
    for name in ("first", "second"):
        parser.add_argument(
            f"--{name}-metric",
            metavar="NAME",
            help=f"the {name}'s field that says what is right",
        )
    parser.add_argument(
        "--rows", type=natural, default=20, metavar="N", help="rows with unlike answers shown (default 20)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print what differs."""
    from vitrail.cli.compare_runs import difference_cells
    from vitrail.evaluation.row_comparison import compare_rows

    found = compare_rows(
        args.first, args.second, first_metric=args.first_metric, second_metric=args.second_metric
    )
    if args.json:
        print_json(found.as_json())
        return 0
    unlike = [row for row in found.rows if not row.same]
    if unlike and args.rows:
        said = [
            (row.id, row.kind, _said(row.first, row.first_right), _said(row.second, row.second_right))
            for row in unlike[: args.rows]
        ]
        print_table(f"{min(args.rows, len(unlike))} of {len(unlike)} rows with unlike answers",
                    ("id", "kind", "first", "second"), said)  # fmt: skip
    if found.difference is not None:
        rows = [difference_cells(kind, one) for kind, one in found.by_kind.items()]
        rows.append(difference_cells("all", found.difference))
        columns = ("kind", "rows", "first", "second", "first − second", "95 % interval", "p (paired)")
        print_table(f"{args.first} against {args.second}", columns, rows, right=range(1, 7))
    print(f"{found.same:,} of {len(found.rows):,} rows have the same answer (paired by {found.by}).")
    if found.judged < len(found.rows):
        print(
            f"{len(found.rows) - found.judged:,} rows do not say what is right (--first-metric, --second-metric)."
        )
    for name, ids in (("first", found.only_first), ("second", found.only_second)):
        if ids:
            print(f"{len(ids):,} rows stand in the {name} alone, such as {ids[0]}.")
    return 0


def _said(text: Any, right: bool | None) -> str:
    shown = " ".join(str(text).split())
    mark = {True: " (right)", False: " (not right)", None: ""}[right]
    return (shown if len(shown) <= 60 else shown[:59] + "…") + mark
