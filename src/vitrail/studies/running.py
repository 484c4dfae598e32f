"""What every study does in its folder, whatever it compares: decisions that stay, cells that count once, time.

::

    fixed/rule.json     what was decided before anything ran
    cells/              the result of each finished cell
    work/               cells under way
    outcome.json        effect, interval, verdict, costs
    report.html

Killed at any moment and started again, it does what is left; what is finished is never run twice.
"""

from __future__ import annotations

import datetime
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vitrail.storage import atomic
from vitrail.storage.environment import describe
from vitrail.storage.lock import FileLock
from vitrail.studies import outcome, trainings
from vitrail.studies.arms import Arm, leaves
from vitrail.studies.cells import Cell, Fixed, Store
from vitrail.studies.design import Association, Design
from vitrail.studies.execution import run_cells
from vitrail.studies.setting_up import cell

CONTEXT_SEEDS = 3
Results = list[dict[str, Any]]


class Listener(Protocol):
    """Is told how far a study is."""

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


class Running(ABC):
    """One design in its folder.

    ``jobs`` cells at a time with ``threads`` threads each; ``inline`` runs them in this process. ``seconds``: a budget
    of time for everything, cells of earlier starts included.
    """

    design: Design | Association

    def __init__(
        self,
        design: Design | Association,
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
        self.alike = trainings.alike(design.arms)

    def run(self) -> dict[str, Any]:
        """The outcome, as it is in ``outcome.json``. ValueError for a folder that was begun under another rule."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", f"the comparison {self.folder}")
        lock.acquire()
        try:
            self.fixed.fix("rule", self.design.fixed())
            self.spent_before = self._spent()
            self.listener.note(f"{self.design.name}: {self.design.rule.sentence()}")
            found = self._found()
            atomic.write_json(self.folder / "outcome.json", found)
            trainings.forget(self.folder / "work")
            return found
        finally:
            lock.release()

    @abstractmethod
    def _found(self) -> dict[str, Any]:
        """Run what is left, and give the outcome."""

    @abstractmethod
    def again(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """Run the first seed of two arms again, as ``evidence`` has it: ``equal`` (to the last bit), ``within`` (what
        its seeds spread over) and ``scores`` by arm."""

    # Time

    def _spent(self) -> float:
        done = [json.loads(path.read_text(encoding="utf-8")) for path in self.store.folder.glob("*.json")]
        return sum(one["seconds"] for one in done) / self.jobs

    def _left(self) -> float | None:
        if self.seconds is None:
            return None
        return self.seconds - self.spent_before - (time.monotonic() - self.begun)

    def _until(self) -> float | None:
        left = self._left()
        return None if left is None else time.monotonic() + left

    # Cells

    def _cells(self, phase: str, cells: Sequence[Cell], until: float | None = None) -> Results:
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
            shares=arm.name in self.alike,
            **{"questions": self.questions, **settings},
        )

    def _take(self, decided: Mapping[str, Any]) -> None:
        """Steps, questions and precision as they were decided."""
        self.steps, self.questions = decided["steps"], decided["questions"]
        self.precision, self.seconds_a_cell = decided["precision"], decided.get("seconds_a_cell")

    def _given_length(self, steps: Mapping[str, int] | None) -> None:
        """The design's own lengths, fixed."""
        given = self.fixed.get("steps") or {
            "steps": steps,
            "questions": self.design.questions,
            "precision": _precision(),
        }
        self._take(self.fixed.fix("steps", given))

    def _context_seeds(self) -> range:
        return range(1, (1 if self.design.mock else CONTEXT_SEEDS) + 1)

    def _told(
        self, arms: Mapping[str, Results], shown: Sequence[Arm], scope: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What an outcome says in every kind of study.

        The scope is that of the largest of the arms ``shown`` and of all of their data; ``scope`` is added to it.
        """
        design, environment = self.design, describe()
        first = max((arms[arm.name][0] for arm in shown if arms.get(arm.name)), key=_size, default={})
        return {
            "name": design.name,
            "testbed": design.testbed,
            "claim": {"kind": design.kind, "text": design.claim},
            "rule": design.rule.sentence(),
            "delta": design.delta,
            "arms": {name: outcome.summary(cells) for name, cells in arms.items() if cells},
            "about": {arm.name: arm.about for arm in design.arms if arm.about},
            "length": {"steps": self.steps, "questions": self.questions, "precision": self.precision},
            "scope": {
                "parameters": first.get("parameters"),
                "trained": first.get("trained"),
                "samples": first.get("samples"),
                "tokens": first.get("tokens"),
                "questions": len(first.get("values", ())),
                "data": sorted({name for arm in shown for name in _data_of(arm, design.evaluation)}),
                "hardware": f"{environment['cpu']}, {', '.join(environment['devices']) or 'no accelerator'}",
                **scope,
            },
            "environment": environment,
            "date": datetime.date.today().isoformat(),
            "cells": [_short(one) for cells in arms.values() for one in cells],
        }


def _size(result: Mapping[str, Any]) -> tuple[float, float]:
    return result.get("tokens") or 0, result.get("parameters") or 0


def _data_of(arm: Arm, evaluation: str) -> set[str]:
    """The suites and files that stages train on and that the deciding evaluation asks about."""
    recipe = arm.recipe
    used = {stage["data"] for stage in recipe["stages"]}
    used |= {one["data"] for one in recipe["evaluation"] if one["name"] == evaluation}
    read = [recipe["data"][leaf] for name in used for leaf in leaves(recipe["data"], name)]
    return {
        one.get("suite")
        or one.get("task")
        or one.get("benchmark")
        or (Path(one["path"]).name if "path" in one else one["kind"])
        for one in read
    }


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as evidence keeps it: its score and costs, and the items where all cells share them."""
    left_out = ("values", "ids", "clusters", "stages")
    return {name: value for name, value in result.items() if name not in left_out}


def _precision() -> str:
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"
