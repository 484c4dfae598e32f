"""``vitrail export MODEL DIR --to hf-llava|merged|onnx``: a model for other runtimes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vitrail.cli.output import print_json
from vitrail.cli.parsing import add_json, not_negative

FORMATS = ("hf-llava", "merged", "onnx")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a model's folder, a run, a hub name, or a folder of adapters (PEFT)")
    parser.add_argument("out", type=Path, metavar="DIR", help="the new folder")
    parser.add_argument(
        "--to",
        choices=FORMATS,
        required=True,
        help="hf-llava: transformers' LLaVA, for vLLM too; merged: adapters and surgeries folded in; onnx: ONNX files",
    )
    parser.add_argument(
        "--base", metavar="MODEL", help="the model under adapters (default: the one they name)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights (default: as they are stored)",
    )
    parser.add_argument(
        "--max-shard-size", default="5GB", metavar="SIZE", help="the largest file of weights (5GB)"
    )
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not compare what was written with the model; needs less memory",
    )
    parser.add_argument(
        "--tolerance",
        type=not_negative,
        default=1e-5,
        metavar="X",
        help="the largest difference of float32 log-probabilities that counts as equal (1e-5)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing while it works")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and say what was done and compared."""
    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another name")
    from transformers.utils import logging

    from vitrail.serving.exports.export import Settings, export

    settings = Settings(args.to, args.dtype, args.max_shard_size, args.base, args.verify, args.tolerance)
    logging.disable_progress_bar()
    quiet = args.quiet or args.json
    done = export(args.model, args.out, settings, (lambda text: None) if quiet else _say)
    if args.json:
        print_json(done.told())
        return 0
    for sentence in done.how:
        print(sentence)
    for what, value in done.checks.items():
        print(f"{what}: {value:.2g}" if isinstance(value, float) else f"{what}: {value}")
    if not args.verify:
        print("not compared (--no-verify)")
    print(f"{done.folder}: {len(done.files)} files, {done.dtype}; its README.md says where it comes from")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
