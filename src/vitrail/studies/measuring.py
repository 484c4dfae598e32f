"""What a finished run says: a score for every item, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.baselines import chance
from vitrail.storage.runs import RunFolder


def measured(run: RunFolder, evaluation: str, condition: str = "trained") -> dict[str, Any]:
    """``score`` (mean over items, more is better), each item's ``values``, ``ids`` and ``clusters``, scores
    ``by_kind``, ``chance`` and ``unit``.

    Items whose metric is a distance count with the opposite sign. ValueError where no question was answered.
    """
    answers = read_answers(run.evaluation(evaluation) / f"{condition}.jsonl")
    rows = sorted(answers.rows, key=lambda row: row["row"])
    if not rows:
        raise ValueError(f"evaluation {evaluation!r} has no answer: every question was set aside")
    losses = all(row.get("loss") is not None for row in rows)
    values = [-row["loss"] if losses else float(bool(row["correct"])) for row in rows]
    kinds: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        kinds.setdefault(row["kind"], []).append(value)
    return {
        "score": sum(values) / len(values),
        "unit": "nats a token" if losses else "share right",
        "chance": None if losses else chance(rows),
        "by_kind": {
            kind: {
                "score": sum(own) / len(own),
                "n": len(own),
                "chance": None if losses else chance([row for row in rows if row["kind"] == kind]),
            }
            for kind, own in sorted(kinds.items())
        },
        "values": values,
        "ids": [row["id"] for row in rows],
        "clusters": [row["cluster"] for row in rows],
        "set_aside": len(answers.set_aside),
        "asked_seconds": answers.seconds,
    }


def costs(run: RunFolder, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Of all stages together: ``train_seconds``, ``steps``, ``samples``, ``tokens``, ``flops``; and ``parameters``,
    ``trained``; each stage's last ``loss``; of each of the ``stages`` records, precision and seconds a step.
    """
    plan = run.plan() or {}
    planned = {stage["name"]: stage for stage in plan.get("stages", ())}
    total: dict[str, Any] = {"train_seconds": 0.0, "steps": 0, "samples": 0, "tokens": 0, "flops": 0.0}
    losses, stages, trained = {}, {}, 0
    for stage in recipe.get("stages", ()):
        for folder in run.stage_folders(stage["name"]):  # of a loop there are several
            done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
            steps = done["step"]
            total["train_seconds"] += done["seconds"]
            total["steps"] += steps
            total["samples"] += done["samples"]
            total["tokens"] += done["tokens"]
            total["flops"] += steps * planned.get(stage["name"], {}).get("flops_a_step", 0.0)
        losses[stage["name"]] = done["loss"]
        own = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        kept = ("records", "records_a_step", "precision", "threads", "device")
        stages[stage["name"]] = {
            **{name: own[name] for name in kept},
            "seconds_a_step": seconds_a_step(folder),
        }
        trained = max(trained, sum(planned.get(stage["name"], {}).get("trained", {}).values()))
    return {
        **total,
        "parameters": plan.get("parameters"),
        "trained": trained,
        "loss": losses,
        "stages": stages,
    }


def peak_bytes() -> int:
    """The most memory that this process ever held: of the accelerator where it was used, else resident."""
    import resource
    import sys

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seconds_a_step(folder: Path) -> float | None:
    """The median time of a step of a stage, the first left out; None for a stage of fewer than three."""
    path = folder / "metrics.jsonl"
    rows = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
    reached = [(row["step"], row["seconds"]) for row in rows]
    times = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(reached)]
    return float(median(times)) if len(times) > 1 else None
