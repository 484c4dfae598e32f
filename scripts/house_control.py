"""Tune the house control of a testbed and measure it: learning rates on the development fold, then the test fold.

    python scripts/house_control.py [--runs runs/house-control] [--draw-only]

One core of a laptop does it in about 20 minutes (``OMP_NUM_THREADS=1``). Every cell is a run folder, so a
killed script goes on where it was. Written: ``docs/house-control.json``, the figures in ``docs/house-control.md`` and
``docs/pictures/house-control.svg``; ``--draw-only`` makes the last two from the first.

The rate is chosen by the mean accuracy on the development fold over TUNING_SEEDS. If the best one is at the edge of
the grid the script says so and ends with 1. The test fold is read with TEST_SEEDS, other scenes for each seed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from vitrail.recipes import loading
from vitrail.recipes.run import run
from vitrail.statistics.intervals import mean_t
from vitrail.storage.atomic import write_json, write_text
from vitrail.training.progress import make_progress

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "house-nano"
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
TUNING_SEEDS = (1000, 1001)
TEST_SEEDS = (0, 1, 2)
QUESTIONS = 360
RESULT = ROOT / "docs/house-control.json"
DOCUMENT = ROOT / "docs/house-control.md"
PICTURE = ROOT / "docs/pictures/house-control.svg"
BEGIN, END = "<!-- figures: scripts/house_control.py -->", "<!-- /figures -->"


def tuning_cell(rate: float, seed: int) -> dict[str, Any]:
    """The recipe of a cell of the grid: the development fold alone, and the trained model alone."""
    recipe = loading.load(RECIPE, {"seed": seed, "stages.tune.learning_rate": rate}).model_dump(mode="json")
    recipe["evaluation"] = [{**recipe["evaluation"][0], "conditions": ["trained"]}]
    recipe["report"] = {"gallery": 1}
    return recipe


def test_cell(rate: float, seed: int) -> dict[str, Any]:
    """The recipe of a test: fresh scenes of the test fold, of known names and of names never shown."""
    recipe = loading.load(RECIPE, {"seed": seed, "stages.tune.learning_rate": rate}).model_dump(mode="json")
    scenes = {"kind": "scenes", "suite": recipe["data"]["scenes"]["suite"], "fold": "test", "n": QUESTIONS}
    recipe["data"] |= {"known": {**scenes, "names": "known"}, "held-out": {**scenes, "names": "held-out"}}
    conditions = ["trained", "blind", "untrained"]
    recipe["evaluation"] = [
        {"name": name, "data": name, "conditions": conditions} for name in ("known", "held-out")
    ]
    recipe["report"] = {"gallery": 1}
    return recipe


def measured(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The cell's figures, run where they are not there yet; seconds only of a cell that was run in one go."""
    path = folder / "cell.json"
    if path.exists():
        return dict(json.loads(path.read_text("utf-8")))
    whole = not folder.exists()
    begin, own = time.monotonic(), time.process_time()
    result = run(loading.load(recipe), folder, progress=make_progress("none"), device="cpu")
    cell = {
        "seconds": round(time.monotonic() - begin, 1) if whole else None,
        "processor_seconds": round(time.process_time() - own, 1) if whole else None,
        "steps": result.stages["tune"]["step"],
        "loss": round(result.stages["tune"]["loss"], 4),
        "scores": {
            task: {
                name: {
                    "accuracy": round(one["accuracy"], 4),
                    "chance": round(one["chance"], 4),
                    "by_kind": {kind: round(rate["accuracy"], 4) for kind, rate in one["by_kind"].items()},
                }
                for name, one in conditions.items()
            }
            for task, conditions in result.scores.items()
        },
    }
    write_json(path, cell)
    return cell


def tuned(grid: dict[str, list[float]]) -> tuple[float, bool]:
    """The rate of the highest mean accuracy, and whether it lies inside the grid."""
    means = {float(rate): statistics.fmean(values) for rate, values in grid.items()}
    best = max(means, key=lambda rate: means[rate])
    return best, min(means) < best < max(means)


def measure(runs: Path) -> dict[str, Any]:
    """Every cell, and what they come to."""
    cells = {}
    for seed in TUNING_SEEDS:
        for rate in RATES:
            print(f"tuning: rate {rate:g}, seed {seed}", flush=True)
            cells[rate, seed] = measured(tuning_cell(rate, seed), runs / f"tuning-{rate:g}-{seed}")
    grid = {
        f"{rate:g}": [
            cells[rate, seed]["scores"]["development"]["trained"]["accuracy"] for seed in TUNING_SEEDS
        ]
        for rate in RATES
    }
    rate, inside = tuned(grid)
    print(f"best rate {rate:g}: {grid}", flush=True)
    tests = []
    for seed in TEST_SEEDS:
        print(f"test: seed {seed}", flush=True)
        tests.append(measured(test_cell(rate, seed), runs / f"test-{rate:g}-{seed}"))
    whole = [cell for cell in cells.values() if cell["seconds"] is not None]
    seconds = {
        name: statistics.median(cell[key] for cell in whole) if whole else math.nan
        for name, key in (("processor", "processor_seconds"), ("clock", "seconds"))
    }
    return {
        "recipe": RECIPE,
        "command": "python scripts/house_control.py",
        "tuning": {"seeds": TUNING_SEEDS, "accuracy": grid, "rate": rate, "inside the grid": inside},
        "test": {"seeds": TEST_SEEDS, "questions": QUESTIONS, "cells": tests},
        "seconds a cell": seconds,
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What the seconds depend on."""
    import platform

    import torch
    import transformers

    return {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def tables(found: dict[str, Any]) -> str:
    """The figures in Markdown, a pure function of the JSON."""
    lines = [
        f"![Accuracy on the development fold by learning rate](pictures/{PICTURE.name})",
        "",
        "| learning rate | " + " | ".join(f"seed {seed}" for seed in found["tuning"]["seeds"]) + " | mean |",
    ]
    lines.append("|---|" + "---|" * (len(found["tuning"]["seeds"]) + 1))
    for rate, values in found["tuning"]["accuracy"].items():
        mark = "**" if float(rate) == found["tuning"]["rate"] else ""
        shown = [f"{value:.1%}" for value in (*values, statistics.fmean(values))]
        lines.append(f"| {mark}{rate}{mark} | " + " | ".join(shown) + " |")
    lines += ["", *_by_kind(found, "known"), "", *_by_kind(found, "held-out"), ""]
    accuracies = [cell["scores"]["known"]["trained"]["accuracy"] for cell in found["test"]["cells"]]
    mean, spread = mean_t(accuracies), statistics.stdev(accuracies)
    seconds, about = found["seconds a cell"], found["machine"]
    lines.append(
        f"Known names, over {len(accuracies)} seeds: {mean.value:.1%} (95 % interval {mean.low:.1%} to "
        f"{mean.high:.1%}, standard deviation {spread:.1%}), {found['test']['questions']} questions each. A cell of "
        f"the tuning grid took {seconds['processor']:.0f} s of processor time ({seconds['clock']:.0f} s on a busy "
        f"machine; medians) with {about['threads']} thread(s), scenes, features and answers "
        f"included (torch {about['torch']}, transformers {about['transformers']})."
    )
    return "\n".join(lines)


def _by_kind(found: dict[str, Any], task: str) -> list[str]:
    cells = [cell["scores"][task] for cell in found["test"]["cells"]]
    conditions = list(cells[0])
    lines = [
        f"| {task} names | " + " | ".join(conditions) + " | chance |",
        "|---|" + "---|" * (len(conditions) + 1),
    ]
    chance = statistics.fmean(cell["trained"]["chance"] for cell in cells)
    for kind in cells[0]["trained"]["by_kind"]:
        means = [statistics.fmean(cell[name]["by_kind"][kind] for cell in cells) for name in conditions]
        lines.append(f"| {kind} | " + " | ".join(f"{mean:.1%}" for mean in means) + " | |")
    means = [statistics.fmean(cell[name]["accuracy"] for cell in cells) for name in conditions]
    lines.append("| **all** | " + " | ".join(f"{mean:.1%}" for mean in means) + f" | {chance:.1%} |")
    return lines


def draw(found: dict[str, Any]) -> None:
    """The tuning curve, and the document with the tables put in."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    grid = found["tuning"]["accuracy"]
    rates = [float(rate) for rate in grid]
    for place, seed in enumerate(found["tuning"]["seeds"]):
        axes.plot(
            rates,
            [100 * values[place] for values in grid.values()],
            "o",
            ms=4,
            alpha=0.6,
            label=f"seed {seed}",
        )
    axes.plot(
        rates,
        [100 * statistics.fmean(values) for values in grid.values()],
        color="black",
        lw=1.5,
        label="mean",
    )
    axes.axvline(found["tuning"]["rate"], color="grey", lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("right on the development fold, %")
    axes.legend(frameon=False)
    PICTURE.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "vitrail", "svg.fonttype": "none"}):
        figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})
    text = DOCUMENT.read_text("utf-8")
    head, rest = text.split(BEGIN)
    write_text(DOCUMENT, f"{head}{BEGIN}\n{tables(found)}\n{END}{rest.split(END)[1]}")


def main() -> int:
    """Measure and draw; 1 if the best rate lies at the edge of the grid."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs/house-control", help="where the cells' runs go"
    )
    parser.add_argument("--draw-only", action="store_true", help="draw what docs/house-control.json holds")
    arguments = parser.parse_args()
    if not arguments.draw_only:
        write_json(RESULT, measure(arguments.runs))
    found = json.loads(RESULT.read_text("utf-8"))
    draw(found)
    rate, inside = found["tuning"]["rate"], found["tuning"]["inside the grid"]
    if not inside:
        way = "lower" if math.isclose(rate, min(RATES)) else "higher"
        print(f"the best rate {rate:g} lies at the edge of the grid; add {way} ones to RATES")
    return 0 if inside else 1


if __name__ == "__main__":
    sys.exit(main())
