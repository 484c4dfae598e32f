"""From a design to a verdict, in a folder, as often as it takes.

::

    fixed/rule.json     what was decided before anything ran; fixed/steps.json, tuning.json and seeds.json follow
    cells/              the result of each finished cell
    work/               cells under way
    outcome.json        effect, interval, verdict, costs
    report.html

Killed at any moment and started again, it does what is left; what is finished is never run twice.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vitrail.statistics.power import FEWEST, noise, power, seeds_needed
from vitrail.storage import atomic
from vitrail.storage.environment import describe
from vitrail.storage.lock import FileLock
from vitrail.studies import outcome, spending
from vitrail.studies.arms import Arm
from vitrail.studies.cells import Cell, Fixed, Store
from vitrail.studies.design import Design
from vitrail.studies.execution import run_cells
from vitrail.studies.setting_up import TUNING_DRAW, TWIN, cell
from vitrail.studies.tuning import Trial, Tuned, tune

CONTEXT_SEEDS = 3


class Listener(Protocol):
    """Is told how far a comparison is."""

    def note(self, text: str) -> None:
        """A line about what happens."""

    def cells(self, phase: str, done: int, of: int, rows: Mapping[str, Sequence[float]]) -> None:
        """A phase's cells: how many are done, and each arm's scores so far."""


class Silent:
    """Nobody listens."""

    def note(self, text: str) -> None:
        """Nothing."""

    def cells(self, phase: str, done: int, of: int, rows: Mapping[str, Sequence[float]]) -> None:
        """Nothing."""


class Comparison:
    """One design in its folder.

    ``jobs`` cells at a time with ``threads`` threads each; ``inline`` runs them in this process. ``seconds``: a budget
    of time for everything, cells of earlier starts included.
    """

    def __init__(
        self,
        design: Design,
        folder: Path,
        *,
        seconds: float | None = None,
        jobs: int = 1,
        threads: int | None = None,
        device: str = "auto",
        inline: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.design, self.folder, self.seconds, self.jobs = design, Path(folder), seconds, jobs
        self.how: dict[str, Any] = {"jobs": jobs, "threads": threads, "device": device, "inline": inline}
        self.listener = listener if listener is not None else Silent()
        self.store, self.fixed = Store(self.folder / "cells"), Fixed(self.folder / "fixed")
        self.steps: dict[str, int] | None = None
        self.questions, self.precision = design.questions, "auto"
        self.seconds_a_cell: float | None = None
        self.begun = time.monotonic()

    def run(self) -> dict[str, Any]:
        """The outcome, as it is in ``outcome.json``. ValueError for a folder that was begun under another rule."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", f"the comparison {self.folder}")
        lock.acquire()
        try:
            return self._run()
        finally:
            lock.release()

    def _run(self) -> dict[str, Any]:
        design = self.design
        self.fixed.fix("rule", design.fixed())
        self.spent_before = self._spent()
        self.listener.note(f"{design.name}: {design.rule.sentence()}")
        self._length()
        tuned = self._tuned()
        n, planned = self._seeds(tuned)
        control, methods = self._primary(tuned, n)
        context = self._context(tuned)
        found = self._outcome(tuned, planned, control, methods, context)
        atomic.write_json(self.folder / "outcome.json", found)
        return found

    # Time

    def _spent(self) -> float:
        import json

        done = [json.loads(path.read_text(encoding="utf-8")) for path in self.store.folder.glob("*.json")]
        return sum(one["seconds"] for one in done) / self.jobs

    def _left(self) -> float | None:
        if self.seconds is None:
            return None
        return self.seconds - self.spent_before - (time.monotonic() - self.begun)

    def _until(self) -> float | None:
        left = self._left()
        return None if left is None else time.monotonic() + left

    # Phases

    def _cells(self, phase: str, cells: Sequence[Cell], until: float | None = None) -> list[dict[str, Any]]:
        rows: dict[str, list[float]] = {}
        done = 0

        def finished(one: Cell, result: Mapping[str, Any]) -> None:
            nonlocal done
            done += 1
            rows.setdefault(one.arm, []).append(result["score"])
            self.listener.cells(phase, done, len(cells), rows)

        for one in cells:
            known = self.store.get(one)
            if known is not None:
                finished(one, known)
        how = dict(self.how)
        return run_cells(cells, self.store, self.folder / "work", finished=finished, until=until, **how)

    def _cell(self, arm: Arm, role: Any, **settings: Any) -> Cell:
        return cell(
            arm,
            role,
            evaluation=self.design.evaluation,
            steps=self.steps,
            precision=self.precision,
            **{"questions": self.questions, **settings},
        )

    def _compared(self) -> tuple[Arm, ...]:
        return (self.design.control, *self.design.methods)

    def _length(self) -> None:
        """Steps, questions and precision: the design's own, or what the budget allows after a pilot of each arm."""
        design = self.design
        if design.steps is not None or self.seconds is None:
            given = self.fixed.get("steps") or {
                "steps": design.steps,
                "questions": design.questions,
                "precision": _precision(),
            }
            self._take(self.fixed.fix("steps", given))
            return
        arms = self._compared()
        stages = design.control.recipe["stages"]
        self.steps = {stage["name"]: spending.PILOT_STEPS for stage in stages}
        settings = {"draw": TUNING_DRAW, "fold": "development", "questions": spending.PILOT_QUESTIONS}
        pilots = self._cells("pilot", [self._cell(arm, "pilot", **settings) for arm in arms])
        decided: dict[str, Any] | None = self.fixed.get("steps")
        if decided is None:
            cells = spending.cell_count(
                len(arms), design.trials, max(len(arm.settings()) for arm in arms), design.pairs,
                design.seeds or FEWEST, len(design.context),
            )  # fmt: skip
            asked = self._asked()
            left = self._left()
            assert left is not None
            decided = spending.spend(left, self.jobs, stages, pilots, cells, asked)
            decided["precision"] = pilots[0]["stages"][stages[0]["name"]]["precision"]
        self._take(self.fixed.fix("steps", decided))
        said = ", ".join(f"{steps:,} steps of {name}" for name, steps in (self.steps or {}).items())
        self.listener.note(
            f"each cell: {said}, {self.questions} questions, about {self.seconds_a_cell:.0f} s"
        )

    def _take(self, decided: Mapping[str, Any]) -> None:
        self.steps, self.questions = decided["steps"], decided["questions"]
        self.precision, self.seconds_a_cell = decided["precision"], decided.get("seconds_a_cell")

    def _asked(self) -> int:
        """How many questions the result's fold has."""
        from vitrail.recipes.loading import load
        from vitrail.recipes.sources import open_data

        one = self._cell(self.design.control, "pilot", draw=1)
        return min(len(open_data(load(dict(one.recipe)), "asked", "questions")), self.questions or 10**9)

    def _tuned(self) -> dict[str, Tuned]:
        arms = (*self._compared(), *self.design.context)

        def run(wanted: Sequence[tuple[Arm, Trial]]) -> list[float]:
            cells = [
                self._cell(
                    arm,
                    "tuning",
                    draw=TUNING_DRAW,
                    fold="development",
                    factor=trial["factor"],
                    settings=trial["settings"],
                )
                for arm, trial in wanted
            ]
            return [one["score"] for one in self._cells("tuning", cells)]

        if self.design.trials == 1 and not any(arm.grid for arm in arms):
            found = {arm.name: Tuned(1.0, {}, (), False) for arm in arms}
        else:
            found = tune(arms, self.design.trials, run)
        self.fixed.fix("tuning", {name: one.as_json() for name, one in found.items()})
        for name, one in found.items():
            self.listener.note(f"{name}: learning rates × {one.factor:.3g}" + "".join(
                f", {field} {value}" for field, value in one.settings.items()))  # fmt: skip
        return found

    def _run_of(self, arm: Arm, tuned: Mapping[str, Tuned], role: Any, draw: int, seed: int) -> Cell:
        own = tuned[arm.name]
        return self._cell(arm, role, draw=draw, seed=seed, factor=own.factor, settings=own.settings)

    def _seeds(self, tuned: Mapping[str, Tuned]) -> tuple[int, dict[str, Any]]:
        """How many pairs of seeds, from an A/A run: the control against itself, initialised independently."""
        design = self.design
        draws = range(1, design.pairs + 1)
        wanted = [self._run_of(design.control, tuned, "noise", draw, draw) for draw in draws]
        wanted += [self._run_of(design.control, tuned, "noise", draw, draw + TWIN) for draw in draws]
        found = self._cells("A/A", wanted) if design.pairs >= 2 else []
        decided = self.fixed.get("seeds")
        if decided is None:
            decided = self._choose([one["score"] for one in found])
        decided = self.fixed.fix("seeds", decided)
        sd = decided["noise"]
        said = "" if sd is None else f"; two runs of the control differ by {sd:.3g} (standard deviation)"
        self.listener.note(f"{decided['n']} pairs of seeds{said}")
        return decided["n"], decided

    def _choose(self, scores: Sequence[float]) -> dict[str, Any]:
        design = self.design
        half = len(scores) // 2
        sd = noise(scores[:half], scores[half:]) if half >= 2 else None
        needed = (
            seeds_needed(sd, design.delta, level=design.rule.level, most=design.most)
            if sd is not None
            else None
        )
        n = design.seeds or (needed if needed is not None else (FEWEST if sd is None else design.most))
        left = self._left()
        if left is not None and self.seconds_a_cell is not None and design.seeds is None:
            arms = len(design.methods) + 1
            ahead = CONTEXT_SEEDS * len(design.context) * self.seconds_a_cell / self.jobs
            n = min(n, spending.affordable(left - ahead, self.jobs, self.seconds_a_cell, arms))
        return {
            "n": n,
            "noise": sd,
            "pairs": half,
            "needed": needed,
            "power": power(n, sd, design.delta, design.rule.level) if sd else None,
        }

    def _primary(
        self, tuned: Mapping[str, Tuned], n: int
    ) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
        arms = self._compared()
        wanted = [self._run_of(arm, tuned, "primary", draw, draw) for draw in range(1, n + 1) for arm in arms]
        done = self._cells("seeds", wanted, self._until())
        pairs = len(done) // len(arms)
        results = [done[index :: len(arms)][:pairs] for index in range(len(arms))]
        named = dict(zip([arm.name for arm in arms[1:]], results[1:], strict=True))
        return results[0], named

    def _context(self, tuned: Mapping[str, Tuned]) -> dict[str, list[dict[str, Any]]]:
        arms = self.design.context
        draws = range(1, (1 if self.design.mock else CONTEXT_SEEDS) + 1)
        wanted = [self._run_of(arm, tuned, "context", draw, draw) for arm in arms for draw in draws]
        done = self._cells("context", wanted, self._until()) if wanted else []
        found: dict[str, list[dict[str, Any]]] = {}
        for one in done:
            found.setdefault(one["arm"], []).append(one)
        return found

    def _outcome(
        self,
        tuned: Mapping[str, Tuned],
        planned: Mapping[str, Any],
        control: list[dict[str, Any]],
        methods: Mapping[str, list[dict[str, Any]]],
        context: Mapping[str, list[dict[str, Any]]],
    ) -> dict[str, Any]:
        design = self.design
        contrasts = [self._contrast(name, tuned, control, cells) for name, cells in methods.items()]
        environment = describe()
        arms = {design.control.name: control, **methods, **context}
        return {
            "name": design.name,
            "testbed": design.testbed,
            "claim": {"kind": design.kind, "text": design.claim},
            "rule": design.rule.sentence(),
            "delta": design.delta,
            "contrasts": contrasts,
            "arms": {name: outcome.summary(cells) for name, cells in arms.items() if cells},
            "about": {arm.name: arm.about for arm in design.arms if arm.about},
            "tuning": {name: one.as_json() for name, one in tuned.items()},
            "seeds": dict(planned),
            "length": {"steps": self.steps, "questions": self.questions, "precision": self.precision},
            "scope": _scope(design, control, environment),
            "environment": environment,
            "date": datetime.date.today().isoformat(),
            "cells": [_short(one) for cells in arms.values() for one in cells],
        }

    def _contrast(
        self,
        name: str,
        tuned: Mapping[str, Tuned],
        control: list[dict[str, Any]],
        method: list[dict[str, Any]],
    ) -> dict[str, Any]:
        design = self.design
        if len(method) < FEWEST:
            decision = outcome.too_few(len(method), FEWEST, design.mock)
            return {"method": name, "control": design.control.name, "n": len(method), "effect": None,
                    "interval": None, "level": design.rule.level, "verdict": decision.verdict, "harm": False,
                    "why": decision.why, "differences": [], "detectable": None}  # fmt: skip
        edges = [arm for arm in (design.control.name, name) if tuned[arm].edge]
        return outcome.contrast(design, name, control, method, edges)


def _scope(
    design: Design, control: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]
) -> dict[str, Any]:
    first: Mapping[str, Any] = control[0] if control else {}
    return {
        "parameters": first.get("parameters"),
        "trained": first.get("trained"),
        "samples": first.get("samples"),
        "tokens": first.get("tokens"),
        "questions": len(first.get("values", ())),
        "data": _data_of(design),
        "hardware": f"{environment['cpu']}, {', '.join(environment['devices']) or 'no accelerator'}",
    }


def _data_of(design: Design) -> list[str]:
    """The suites and files that stages train on and that the deciding evaluation asks about."""
    recipe = design.control.recipe
    used = {stage["data"] for stage in recipe["stages"]}
    used |= {one["data"] for one in recipe["evaluation"] if one["name"] == design.evaluation}
    return sorted(
        {recipe["data"][name].get("suite") or Path(recipe["data"][name]["path"]).name for name in used}
    )


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as evidence keeps it: its score and costs, and the items where all cells share them."""
    left_out = ("values", "ids", "clusters", "stages")
    return {name: value for name, value in result.items() if name not in left_out}


def _precision() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"
