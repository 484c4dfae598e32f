"""``vitrail memory forget MEMORY NAME …``: remove concepts, and every byte of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("memory", type=Path, help="the memory's file")
    parser.add_argument("names", nargs="+", metavar="NAME", help="what is to be forgotten")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Forget all of them, or (if one is unknown) none."""
    from vitrail.storage.memories import MemoryStore

    if not args.memory.exists():
        raise FileNotFoundError(f"there is no memory at {args.memory}; vitrail memory add makes one")
    with MemoryStore(args.memory, writing=True) as store:
        store.forget(*dict.fromkeys(args.names))
        left, version = len(store), store.version
    if args.json:
        told = {"memory": str(args.memory), "forgotten": args.names, "concepts": left, "version": version}
        print_json(told)
    else:
        print(f"{args.memory} has forgotten {', '.join(args.names)} ({left:,} left)")
    return 0
