"""``vitrail leaderboard DIR``: models by benchmarks, with intervals and ties."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="files of answers are looked for below it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page as well")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table from files of answers alone."""
    from vitrail.evaluation.leaderboard import leaderboard
    from vitrail.evaluation.leaderboard_page import READ, remarks, table, write_page

    if not args.folder.is_dir():
        raise ValueError(f"there is no folder {args.folder}; give one with results below it")
    board = leaderboard(args.folder)
    if args.html is not None:
        write_page(board, args.html)
    if args.json:
        print_json(board.as_json())
        return 0
    columns, rows = table(board)
    print_table("", columns, rows, right=range(1, len(columns)))
    print(READ)
    for line in remarks(board):
        print(line)
    if args.html is not None:
        print(f"{args.html}: open it in a browser; it needs no network")
    return 0
