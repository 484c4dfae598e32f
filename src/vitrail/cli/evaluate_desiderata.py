"""``vitrail eval MODEL … --desiderata calibration,robustness``: ChEF's desiderata on a file or a benchmark."""

from __future__ import annotations

import argparse
from typing import Any

from vitrail.cli.output import print_table


def on_desiderata(args: argparse.Namespace, task: Any, source: Any, progress: Any) -> dict[str, Any]:
    """Ask what is not answered yet; figures by desideratum, as plain values."""
    from dataclasses import asdict

    from vitrail.cli.evaluate import answers_folder, model_of
    from vitrail.evaluation.desiderata import DESIDERATA, RETRIEVERS, measure
    from vitrail.papers.meaning import folder

    names = [one.strip() for one in args.desiderata.split(",") if one.strip()]
    names = list(DESIDERATA) if names == ["all"] else names
    retrievers = [how for how in RETRIEVERS if how != "text" or folder() is not None]
    bundle, found = model_of(args), {}
    for name in names:
        progress.note(f"{task.name}, {name}")
        try:
            figures = measure(
                [name],
                task,
                bundle,
                answers_folder(args),
                source=source,
                retrievers=retrievers,
                batch_size=args.batch_size,
            )[name]
        except ValueError as error:
            if len(names) == 1:
                raise
            progress.note(f"{name} is not measured: {error}")
            continue
        found[name] = [asdict(one) for one in figures]
    return found


def print_desiderata(found: dict[str, Any]) -> None:
    """One table each; shares in %."""
    for name, figures in found.items():
        rows = [(one["name"], _shown(one), f"{one['n']:,}") for one in figures]
        print_table(name.replace("_", " "), ("figure", "value", "n"), rows, right=(1, 2))


def _shown(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "not defined"
    if figure["name"] == "temperature":
        return f"{figure['value']:.2f}"
    ends = figure["interval"]
    return f"{100 * figure['value']:.1f}" + (f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else "")
