"""``vitrail data explain PIPELINE DOC``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("pipeline", type=Path, help="a YAML file: input, operations, output")
    parser.add_argument(
        "document", help="FILE, or FILE#N for its document number N (from 0): HTML, WARC or records"
    )
    parser.add_argument("--parts", type=positive, default=8, metavar="N", help="parts to print a stage (8)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the document after every operation, until it leaves."""
    from vitrail.curation.explaining import explain, find_document
    from vitrail.curation.pipeline import read_pipeline

    pipeline = read_pipeline(args.pipeline)
    base = args.pipeline.resolve().parent
    document = find_document(args.document, pipeline.input, base)
    stages = list(explain(pipeline, document, base))
    if args.json:
        rows = [
            {
                "operation": stage.operation,
                "verdict": stage.verdict,
                "document": stage.after.model_dump(mode="json", exclude_none=True) if stage.after else None,
            }
            for stage in stages
        ]
        print_json({"document": document.id, "stages": rows})
        return 0
    before = None
    for stage in stages:
        print(f"{stage.operation}: {stage.verdict}")
        if stage.after is not None and stage.after is not before:
            for part in stage.after.content[: args.parts]:
                print(f"    {_line(part)}")
            if len(stage.after.content) > args.parts:
                print(f"    … {len(stage.after.content) - args.parts} more parts")
        before = stage.after
    return 0


def _line(part: object) -> str:
    text = getattr(part, "text", None)
    if text is not None:
        shown = " ".join(text.split())
        return shown if len(shown) <= 100 else f"{shown[:99]}…"
    return f"[{getattr(part, 'type', '')} {getattr(part, 'url', None) or getattr(part, 'path', None) or 'bytes'}]"
