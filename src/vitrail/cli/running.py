"""What ``train`` and ``quickstart`` share: run a recipe, show the scores, say what comes next."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from vitrail.cli.libraries import prepare_libraries
from vitrail.cli.output import print_json, print_table


def carry_out(recipe: Any, folder: Path, args: argparse.Namespace, planned: Any = None) -> int:
    """Run ``recipe`` in ``folder``. Ctrl-C says how to go on."""
    from vitrail.recipes.run import run
    from vitrail.training import processes
    from vitrail.training.progress import make_progress

    prepare_libraries(args.threads)
    quiet = args.quiet or not processes.is_first()
    progress = make_progress("none" if quiet or args.json else "auto")
    try:
        result = run(recipe, folder, progress=progress, resume=args.resume, planned=planned)
    except KeyboardInterrupt:
        again = f"vitrail train {shlex.quote(str(folder))}"
        raise KeyboardInterrupt(f"Nothing is lost; go on with: {again}") from None
    if args.json and processes.is_first():
        print_json(result.as_json())
    elif not quiet:
        print_rounds(folder)
        print_scores(result.scores)
        print_next(result)
    return 0


def print_rounds(folder: Path) -> None:
    """What each round of a loop made and scored, where the run has a loop."""
    from vitrail.recipes.looping import rounds_of, rounds_table
    from vitrail.storage.runs import RunFolder

    rounds = rounds_of(RunFolder(folder))
    if rounds:
        columns, rows = rounds_table(rounds)
        print_table("rounds", columns, rows, right=range(len(columns)))


def print_scores(scores: dict[str, dict[str, Any]]) -> None:
    """One table an evaluation: kinds of question down, conditions across, each with its 95 % interval."""
    for task, conditions in scores.items():
        names = list(conditions)
        kinds = list(dict.fromkeys(kind for one in conditions.values() for kind in one["by_kind"]))
        rows = [
            (
                kind,
                *(_cell(conditions[name]["by_kind"].get(kind)) for name in names),
                _chance(conditions, kind),
            )
            for kind in kinds
        ]
        rows.append(("all", *(_cell(conditions[name]) for name in names), _chance(conditions, None)))
        columns = ("kind", *names, "chance")
        what = "nats a token (less is better)" if _distance(conditions) else "right answers"
        print_table(f"{task}: {what}, with 95 % interval", columns, rows, right=range(1, len(columns)))
        for name, one in conditions.items():
            if one.get("set_aside") or one.get("unread") or one.get("missing"):
                print(f"{name}: covers {_covered(one)}")


def _covered(score: dict[str, Any]) -> str:
    """How many rows of the file a score covers; rows that are no records count among those left out."""
    from vitrail.evaluation.figures import coverage

    unread = score["unread"]
    return coverage(
        score["rows"] + unread, score["n"], score["set_aside"] + unread, score["reasons"], score["missing"]
    )


def _distance(conditions: dict[str, Any]) -> bool:
    return any(score.get("loss") is not None for score in conditions.values())


def _cell(score: dict[str, Any] | None) -> str:
    if score is None or not score.get("n"):
        return "–"
    if score.get("loss") is not None:
        ends = score["loss_interval"]
        return f"{score['loss']:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
    low, high = score["interval"]
    return f"{100 * score['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _chance(conditions: dict[str, Any], kind: str | None) -> str:
    for score in conditions.values():
        found = score if kind is None else score["by_kind"].get(kind, {})
        if found.get("chance") is not None:
            return f"{100 * found['chance']:.1f} %"
    return "–"


def print_next(result: Any) -> None:
    """The commands that make sense now."""
    folder = shlex.quote(str(result.folder))
    print(f"report: {result.report}" if result.report else "no report was written")
    print("next:")
    ready: tuple[tuple[str, str], ...] = (
        (f"vitrail chat {folder}", "talk to it; drag a picture into the line"),
        (f"vitrail eval {folder} --data questions.jsonl", "measure it on your own questions"),
        (f"vitrail train --data mine.jsonl --model {folder}", "train it on your own conversations"),
        (f"vitrail compare {folder} OTHER_RUN", "which of two runs answers better, question by question"),
    )
    if result.recipe.model.dual_encoder is not None:
        ready = (
            (f"vitrail.models.experts.clip_scorer.ClipScorer: path={folder}", "score pictures against texts"),
            ready[-1],
        )
    for command, about in ready:
        print(f"  {command:<58} {about}")
