"""``vitrail data mine SOURCE TARGET OUT --model ENCODER``: translations among the texts of two languages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, add_threads, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "source", help="texts of one language, in any format that is read (a .txt has one a line)"
    )
    parser.add_argument("target", help="texts of the other")
    parser.add_argument("out", type=Path, help="the new file (.jsonl) of translations")
    parser.add_argument("--model", required=True, help="a masked encoder: a folder, a run, or a hub name")
    parser.add_argument(
        "--languages", nargs=2, default=("source", "target"), metavar="NAME", help="what the two are called"
    )
    parser.add_argument(
        "--k", type=positive, default=4, help="neighbours that a pair's score is held against (4)"
    )
    parser.add_argument("--threshold", type=float, metavar="SCORE", help="leave pairs below this margin out")
    parser.add_argument("--top", type=positive, metavar="N", help="keep the N best alone")
    parser.add_argument(
        "--pooling", choices=("mean", "first"), default="mean", help="of a text's states (mean)"
    )
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Embed both sides, mine, write, and say what was found."""
    import json

    from vitrail.curation.bitext import mine
    from vitrail.models.loading import load
    from vitrail.storage.atomic import write_text

    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    prepare_libraries(args.threads)
    sides = [_texts(path) for path in (args.source, args.target)]
    bundle: Any = load(args.model)
    if bundle.family.kind != "encoder":
        raise ValueError(
            f"{args.model} is {bundle.family.about or 'no encoder'}; mining needs a masked encoder"
        )
    vectors = [bundle.embed(texts, pooling=args.pooling).numpy() for texts in sides]
    found = mine(*vectors, k=args.k, threshold=args.threshold)[: args.top]
    rows = [
        {
            "translation": dict(
                zip(args.languages, (sides[0][one.source], sides[1][one.target]), strict=True)
            ),
            "margin": round(one.score, 6),
        }
        for one in found
    ]
    write_text(args.out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    told = {"file": str(args.out), "pairs": len(rows), "source": len(sides[0]), "target": len(sides[1])}
    told |= {"best": rows[0]["margin"], "last": rows[-1]["margin"]} if rows else {}
    if args.json:
        print_json(told)
    else:
        scores = f", margins {told['best']:.3f} to {told['last']:.3f}" if rows else ""
        print(f"{args.out}: {len(rows):,} pairs of {len(sides[0]):,} and {len(sides[1]):,} texts{scores}")
    return 0


def _texts(path: str) -> list[str]:
    """The different texts of a file, in order. ValueError for what is no text."""
    from vitrail.data.readers import open_source
    from vitrail.models.sentences import texts_of

    source = open_source(path)
    found: dict[str, None] = {}
    for number, record in enumerate(source):
        try:
            (text,) = texts_of(record)
        except ValueError as error:
            raise ValueError(f"record {number} of {path}: {error}; give one text a row") from None
        found[text] = None
    return list(found)
