"""``vitrail judge prepare RULES --llm MODEL``: a language model makes rules objective and takes them apart."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, add_threads, natural, positive

OF_ADDRESS = ("key_variable", "max_requests", "max_tokens")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "rules", type=Path, help="JSON: a list of texts, or a constitution that is not complete"
    )
    parser.add_argument(
        "--llm", required=True, metavar="MODEL", help="a folder or hub name; at an address, its name there"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the constitution goes")
    parser.add_argument(
        "--threshold", type=float, default=9.0, metavar="N", help="objectiveness wanted, 1 to 10 (default 9)"
    )
    parser.add_argument(
        "--rounds",
        type=natural,
        default=10,
        metavar="N",
        help="rewordings at most (default 10; 0: keep the wording)",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors and rules alone")
    there = parser.add_argument_group("of a model at an address")
    there.add_argument("--address", metavar="URL", help="OpenAI's chat completions, ending in /v1")
    there.add_argument("--key-variable", metavar="NAME", help="the environment variable with the key")
    there.add_argument("--max-requests", type=positive, metavar="N", help="the budget of requests")
    there.add_argument("--max-tokens", type=positive, metavar="N", help="the budget of tokens")
    add_threads(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, write and print. What was answered is kept, so that a later start asks for the rest alone."""
    from vitrail.inference.constitution import Constitution
    from vitrail.training.progress import make_progress

    given = [name for name in OF_ADDRESS if getattr(args, name)]
    if given and args.address is None:
        raise ValueError(f"--{given[0].replace('_', '-')} goes with --address URL")
    rules = Constitution.read(args.rules)
    prepare_libraries(args.threads)
    from vitrail.inference.rule_writing import prepare

    progress = make_progress("none" if args.quiet or args.json else "auto")
    made = prepare(
        rules, _answerer(args), threshold=args.threshold, max_rounds=args.rounds, tell=progress.note
    )
    made.write(args.out)
    if args.json:
        print_json(made.model_dump(mode="json", exclude_defaults=True))
        return 0
    rows = [
        (rule.id, "–" if rule.objectiveness is None else f"{rule.objectiveness:g}", rule.text, _told(rule))
        for rule in made.rules
    ]
    print_table("", ("rule", "objective", "text", "broken where all of these hold"), rows, right=[1])
    print(f"{args.out}: read it before you use it")
    return 0


def _told(rule: Any) -> str:
    return "\n".join(f"{number}. {' or '.join(clause)}" for number, clause in enumerate(rule.clauses, 1))


def _answerer(args: argparse.Namespace) -> Any:
    from vitrail.inference.answerers import KeptAnswerer, ModelAnswerer

    if args.address is None:
        return KeptAnswerer(ModelAnswerer(args.llm))
    from vitrail.inference.remote import RemoteAnswerer, RemoteSettings

    given = {name: getattr(args, name) for name in OF_ADDRESS if getattr(args, name)}
    return RemoteAnswerer(RemoteSettings(base_url=args.address, model=args.llm, **given))
