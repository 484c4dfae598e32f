"""``vitrail data challenging FILE OUT --model MODEL --tokens N``: what an early model finds hard but learnable."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("file", help="a file or folder of records in any format that is read")
    parser.add_argument("out", type=Path, help="the new file (.jsonl)")
    parser.add_argument("--model", required=True, help="an early checkpoint: a folder, a run, or a hub name")
    parser.add_argument(
        "--tokens", type=positive, required=True, metavar="N", help="how many tokens to choose"
    )
    parser.add_argument("--k", type=positive, default=10, help="a token counts among the k likeliest (10)")
    parser.add_argument("--reduce", choices=("median", "mean"), default="median", help="of a record's losses")
    parser.add_argument(
        "--mode", choices=("drop", "zero"), default="drop", help="of tokens that do not count"
    )
    parser.add_argument("--fewest", type=positive, default=1, metavar="N", help="tokens that must count (1)")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where paths begin (default: the file's folder)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score every record, choose, write, and say what was chosen."""
    import numpy as np

    from vitrail.curation.learnable import SequenceScorer, select_challenging
    from vitrail.data.readers import open_source, write_jsonl
    from vitrail.data.readers.writing import root_of
    from vitrail.models.loading import load
    from vitrail.recipes.datasets import EncodedRecords

    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    source = open_source(args.file, on_error="set_aside", root=args.root)
    bundle = load(args.model)
    records = EncodedRecords(source, bundle.encoder, "set_aside")
    scorer = SequenceScorer(bundle, args.k, args.reduce, args.mode, args.fewest)
    scores = scorer(records)  # type: ignore[arg-type]
    chosen = select_challenging(records.lengths, scores, args.tokens)
    used = [number for number in range(len(source)) if number not in records.set_aside]
    write_jsonl([source[used[index]] for index in chosen], args.out, root=root_of(source, args.root))
    found = {
        "file": str(args.out),
        "records": len(records),
        "without_score": int(np.isnan(scores).sum()),
        "chosen": len(chosen),
        "tokens": sum(records.lengths[index] for index in chosen),
        "lowest_score": float(min(scores[index] for index in chosen)),
        "median_score": float(np.nanmedian(scores)),
    }
    if args.json:
        print_json(found)
        return 0
    print(
        f"{args.out}: {found['chosen']:,} of {found['records']:,} records, {found['tokens']:,} tokens; scores from "
        f"{found['lowest_score']:.3f} nats (median of all {found['median_score']:.3f}; {found['without_score']:,} "
        "without a score)"
    )
    return 0
