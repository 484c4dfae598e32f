"""``vitrail judge MODEL --constitution RULES PICTURE …``: which pictures break which rules, and why."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, add_threads, positive

UNDECIDED = ("reason", "leave", "threshold", "prior")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("model", help="a run's or a model's folder, or a hub name; it must take pictures")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="files, or folders of them")
    add_judging(parser)
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="JSON of where things are: {picture: {central word: [[x1, y1, x2, y2]]}}, instead of a detector",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="verdicts as JSON lines; a later start goes on with it"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="an HTML page of pictures and traces")
    parser.add_argument("--trace", action="store_true", help="print how each verdict came about")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="default 16")
    parser.add_argument("--quiet", action="store_true", help="print errors and verdicts alone")
    add_threads(parser)
    add_json(parser)


def add_judging(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """How a judge is made: rules, helpers, thresholds."""
    judging = parser.add_argument_group("how pictures are judged")
    judging.add_argument(
        "--constitution", type=Path, required=required, metavar="FILE", help="JSON of rules (docs/judging.md)"
    )
    judging.add_argument(
        "--clip", metavar="NAME", help="folder, run or hub name of a CLIP that chooses rules"
    )
    judging.add_argument("--relevance", type=float, metavar="T", help="its least cosine (default 0.22)")
    judging.add_argument(
        "--detector", metavar="NAME", help="folder or hub name: OWLv2, Grounding DINO, DETR …"
    )
    judging.add_argument(
        "--undecided", choices=UNDECIDED, help="what happens to open conditions (default: reason, in words)"
    )
    judging.add_argument("--whole", action="store_true", help="ask for each rule whole; needs no clauses")
    judging.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="another setting of the judge: alpha1, alpha2, beta, half, fill, prompt, max_new_tokens …",
    )


def run(args: argparse.Namespace) -> int:
    """Judge what is not judged yet, and print what was found."""
    from vitrail.evaluation.verdict_files import judge_pictures, pictures_below, plain_trace
    from vitrail.inference.constitution import Constitution
    from vitrail.recipes.evaluation_run import now_and_then
    from vitrail.training.progress import make_progress

    rules, settings = Constitution.read(args.constitution), settings_of(args)
    if settings.divide:
        rules.require_divided()
    pictures, boxes = pictures_below(args.pictures), _boxes(args.boxes)
    prepare_libraries(args.threads)
    progress = make_progress("none" if args.quiet or args.json else "auto")
    judge, told = judge_of(args, rules, settings, _bundle(args), args.batch_size)
    progress.note(f"{len(pictures):,} pictures, {len(rules.rules)} rules")
    tell = now_and_then(lambda done, total: progress.note(f"{done:,} of {total:,} pictures"))
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch) / "verdicts.jsonl"
        found = judge_pictures(judge, pictures, out, told=told, boxes=boxes, progress=tell)
    if args.report is not None:
        from vitrail.evaluation.verdict_page import write_page

        progress.note(f"report: {write_page(found, args.report)}")
    if args.json:
        print_json(
            {
                **found.counts(),
                "calls": vars(judge.calls),
                "pictures": [{k: v for k, v in row.items() if k != "key"} for row in found.rows],
            }
        )
    elif args.trace:
        print("\n\n".join(plain_trace(row) for row in found.rows))
    else:
        _table(found)
    return 0


def settings_of(args: argparse.Namespace) -> Any:
    """The judge's settings. ValueError for one that there is not, or options without effect."""
    from vitrail.inference.clue import ClueSettings
    from vitrail.recipes.overrides import parse
    from vitrail.registry import nearest

    given: dict[str, Any] = dict(map(parse, args.set))
    unknown = sorted(set(given) - set(ClueSettings.model_fields))
    if unknown:
        raise ValueError(f"--set {unknown[0]}: {nearest(unknown[0], list(ClueSettings.model_fields))}")
    if args.relevance is not None:
        if args.clip is None:
            raise ValueError("--relevance is a CLIP's cosine; name one with --clip")
        given["relevance"] = args.relevance
    if args.undecided is not None:
        given["undecided"] = args.undecided
    if args.whole:
        given["divide"] = False
    return ClueSettings(**given)


def judge_of(
    args: argparse.Namespace, rules: Any, settings: Any, bundle: Any, batch_size: int = 16
) -> tuple[Any, dict[str, Any]]:
    """The judge, and what its verdicts depend on beside rules and settings."""
    from vitrail.evaluation import fingerprints
    from vitrail.evaluation.clue import helper_fingerprints, helpers
    from vitrail.inference.clue import ClueJudge

    if bundle.encoder.planner is None:
        raise ValueError(f"{bundle.name} takes no pictures; a judge of pictures needs a multimodal model")
    scanner, detector = helpers(args.clip, args.detector, settings, bundle.device)
    judge = ClueJudge(bundle, rules, settings, scanner=scanner, detector=detector, batch_size=batch_size)
    told = {
        "model": args.model,
        "weights": fingerprints.weights(bundle.model),
        "clip": args.clip,
        "detector": args.detector,
        **helper_fingerprints(scanner, detector),
    }
    return judge, told


def _boxes(path: Path | None) -> dict[str, dict[str, Any]] | None:
    """ValueError for a file that is no JSON of that form."""
    import json

    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--boxes {path} is no JSON file: {error}") from None
    good = isinstance(found, dict) and all(isinstance(one, dict) for one in found.values())
    if not good:
        raise ValueError(f"--boxes {path} must be {{picture: {{central word: [[x1, y1, x2, y2]]}}}}")
    return {Path(name).as_posix(): one for name, one in found.items()}


def _bundle(args: argparse.Namespace) -> Any:
    from vitrail.models.loading import load
    from vitrail.recipes.assembly import place

    return place(load(args.model))


def _table(found: Any) -> None:
    from vitrail.evaluation.verdict_files import word_of

    rows = [
        (
            row["picture"],
            word_of(row["verdict"]) if "verdict" in row else "set aside",
            ", ".join([*row["verdict"]["violated"], *(f"{one}?" for one in row["verdict"]["undecided"])])
            if "verdict" in row
            else row["reason"],
        )
        for row in found.rows
    ]
    print_table("", ("picture", "verdict", "broken rules (?: undecided)"), rows)
    print(", ".join(f"{n:,} {word.replace('_', ' ')}" for word, n in found.counts().items()))
