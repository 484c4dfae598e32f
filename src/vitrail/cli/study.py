"""``vitrail study NAME``: put the claim of a paper to the test, under its rule."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table
from vitrail.cli.parsing import add_json, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("name", nargs="?", help="a paper (none: list those that have a study)")
    parser.add_argument("--testbed", default="nano", help="nano (default) or small")
    parser.add_argument("--mock", action="store_true", help="everything once, in seconds; leaves no evidence")
    parser.add_argument(
        "--verify", action="store_true", help="run the evidence's first seed of two arms again"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where it stopped (it does so in any case)"
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="folder (default: runs/study-<paper>-<testbed>)"
    )
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="where evidence is written (default: ./evidence)"
    )
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="cells at a time (default: one a core at nano)"
    )
    parser.add_argument("--quiet", action="store_true", help="print the result alone")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run, or list, or verify."""
    from vitrail.studies.declaring import folder_of, study

    if args.name is None:
        return _list(args)
    prepare_libraries()
    made = study(args.name)
    folder = args.run or folder_of(made.paper, args.testbed, args.mock)
    if args.verify:
        return _verify(args, made)
    return _run(args, made, folder)


def _list(args: argparse.Namespace) -> int:
    from vitrail.papers.evidence import evidence_of
    from vitrail.studies.declaring import studies, study

    rows = []
    for name in studies():
        made = study(name)
        found = {one.testbed: one.verdict for one in evidence_of(name)}
        for testbed in made.designs:
            minutes = made.minutes.get(testbed)
            time = "never timed" if minutes is None else f"{minutes:g} min on {made.hardware}"
            rows.append((name, testbed, time, made.kind, found.get(testbed, "–")))
    if args.json:
        keys = ("paper", "testbed", "time", "kind", "verdict")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return 0
    print_table("studies", ("paper", "testbed", "about how long", "kind of claim", "evidence"), rows)
    return 0


def _how(args: argparse.Namespace) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    jobs = args.jobs or (cores if args.testbed == "nano" else 1)
    threads = 1 if args.testbed == "nano" else max(1, cores // jobs)
    return {"jobs": jobs, "threads": threads, "inline": args.mock}


def _run(args: argparse.Namespace, made: Any, folder: Path) -> int:
    from vitrail.cli.compare import print_outcome
    from vitrail.cli.live import LiveTable, Quiet
    from vitrail.studies.engine import engine
    from vitrail.studies.evidence import write
    from vitrail.studies.report import write_report

    listener = Quiet() if args.quiet or args.json else LiveTable()
    with listener:
        design = made.design(args.testbed, args.mock)
        found = engine(design, folder, listener=listener, **_how(args)).run()
    report = write_report(folder)
    path = None if args.mock else write(made, found, args.evidence or Path("evidence"))
    if args.json:
        print_json({**found, "evidence": str(path) if path else None})
        return 0
    print_outcome(found)
    print(f"published: {made.published}")
    print(f"report: {report}" if report else "no report was written: install vitrail[report]")
    print(f"evidence: {path}" if path else "a mock leaves no evidence")
    return 0


def _verify(args: argparse.Namespace, made: Any) -> int:
    import json
    import tempfile

    from vitrail.papers.evidence import place
    from vitrail.studies.evidence import verify

    root = args.evidence or place()
    path = (root / made.paper / f"{args.testbed}.json") if root else None
    if path is None or not path.exists():
        raise ValueError(f"there is no evidence of {made.paper} on {args.testbed}; run the study first")
    evidence = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        found = verify(made, evidence, Path(folder), **_how(args))
    holds = found["equal"] if found["same_machine"] else found["within"]
    if args.json:
        print_json({**found, "holds": holds})
    else:
        for arm, scores in found["scores"].items():
            print(f"{arm}: {scores['again']:.6f} again, {scores['evidence']:.6f} in the evidence")
        where = (
            "the same machine: equal bits"
            if found["same_machine"]
            else "another machine: within the interval"
        )
        print(f"{where}: {'yes' if holds else 'NO'}")
    return 0 if holds else 1
