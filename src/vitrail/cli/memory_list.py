"""``vitrail memory list MEMORY``: what is remembered."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("memory", type=Path, help="the memory's file")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write all of it as RAP's JSON, with the pictures"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    from vitrail.inference.concepts import ENCODER, Concept, write_concepts
    from vitrail.storage.memories import MemoryStore

    with MemoryStore(args.memory) as store:
        entries = store.entries()
        if args.out is not None:
            full = (store.get(entry.key) for entry in entries)
            write_concepts(
                (Concept(**{**one.attributes, "image": one.picture}) for one in full if one), args.out
            )
        told = {
            "memory": str(args.memory),
            "version": store.version,
            "encoder": store.setting(ENCODER),
            "concepts": [{**entry.attributes, "version": entry.version} for entry in entries],
        }
    if args.json:
        print_json(told)
        return 0
    rows = [
        [one.key, *(one.attributes.get(field, "") for field in ("category", "info", "source"))]
        for one in entries
    ]
    print_table("", ["name", "category", "info", "picture"], rows)
    print(f"{len(entries):,} concepts, encoder {told['encoder']}, version {told['version']}")
    if args.out is not None:
        print(f"written to {args.out}")
    return 0
