"""How a budget of time becomes steps, questions and seeds, from a pilot of a few steps of each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrail.statistics.power import FEWEST

PILOT_STEPS = 8
PILOT_QUESTIONS = 32
RESERVE = 0.75
"""Share of the budget that is planned for; the rest is for what takes longer than in the pilot."""
FEWEST_QUESTIONS = 40


@dataclass(frozen=True)
class Speeds:
    """Of one arm: seconds a step of each stage, seconds a question, and seconds of everything else in a cell."""

    step: Mapping[str, float]
    question: float
    rest: float

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Speeds:
        """From a pilot cell's result."""
        steps = {name: stage["seconds_a_step"] or 0.0 for name, stage in result["stages"].items()}
        question = result["asked_seconds"] / max(1, len(result["values"]))
        rest = result["seconds"] - result["asked_seconds"] - result["train_seconds"]
        return cls(steps, question, max(0.0, rest))


def own_steps(stage: Mapping[str, Any], pilot: Mapping[str, Any], seconds_a_step: float) -> int:
    """How many steps a recipe's stage means by itself: the smallest of its budgets."""
    limits = []
    if stage.get("max_steps") is not None:
        limits.append(stage["max_steps"])
    if stage.get("epochs") is not None:
        limits.append(math.ceil(stage["epochs"] * pilot["records"] / pilot["records_a_step"]))
    if stage.get("max_minutes") is not None:
        limits.append(int(60 * stage["max_minutes"] / max(seconds_a_step, 1e-6)))
    return max(1, min(limits))


def cell_count(arms: int, trials: int, combinations: int, pairs: int, seeds: int, context: int) -> int:
    """Cells of a whole comparison of ``arms`` arms, context arms (three seeds each) included."""
    return (arms + context) * trials * combinations + pairs + arms * seeds + 3 * context


def spend(
    seconds: float,
    jobs: int,
    stages: Sequence[Mapping[str, Any]],
    pilots: Sequence[Mapping[str, Any]],
    cells: int,
    questions: int,
) -> dict[str, Any]:
    """Steps of each stage and questions of each cell, so that ``cells`` cells fit into ``seconds``.

    No stage becomes longer than the recipe has it. The slower arm counts. ValueError if not even one step fits.
    """
    speeds = [Speeds.of(pilot) for pilot in pilots]
    slowest = {stage["name"]: max(speed.step[stage["name"]] for speed in speeds) for stage in stages}
    rest = max(speed.rest for speed in speeds)
    ask = max(speed.question for speed in speeds)
    whole = {
        stage["name"]: own_steps(stage, pilots[0]["stages"][stage["name"]], slowest[stage["name"]])
        for stage in stages
    }
    each = RESERVE * seconds * jobs / cells - rest
    asked = int(min(questions, max(FEWEST_QUESTIONS, each / 3 / max(ask, 1e-6))))
    left = each - asked * ask
    training = sum(whole[name] * slowest[name] for name in whole)
    if left <= 0 or min(1.0, left / training) * sum(whole.values()) < len(whole):
        need = cells * (rest + asked * ask + sum(slowest.values())) / RESERVE / jobs
        raise ValueError(
            f"a budget of {seconds / 60:.0f} minutes is too small: {cells} cells take {need / 60:.0f} minutes before "
            "any of them has learnt something; raise it, or compare fewer methods"
        )
    share = min(1.0, left / training)
    steps = {name: max(1, int(share * whole[name])) for name in whole}
    return {
        "steps": steps,
        "questions": asked,
        "share_of_recipe": round(share, 4),
        "seconds_a_cell": round(rest + asked * ask + sum(steps[name] * slowest[name] for name in steps), 3),
    }


def affordable(seconds_left: float, jobs: int, seconds_a_cell: float, arms: int) -> int:
    """Pairs of seeds (one cell of each arm) that fit into the time that is left."""
    return max(FEWEST, int(seconds_left * jobs / max(seconds_a_cell * arms, 1e-6)))
