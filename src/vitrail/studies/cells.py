"""Cells: one arm trained and measured once. What is finished is stored at once and never run again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vitrail.storage import atomic
from vitrail.storage.cache import key

Role = Literal["pilot", "tuning", "noise", "primary", "context"]


@dataclass(frozen=True)
class Cell:
    """What is to be run. ``seed`` draws weights and order, ``draw`` the scenes; both are in the recipe already.

    ``evaluation`` names the recipe's evaluation that gives the score; ``setting`` says what was varied, for tables.
    ``training``: what it shares with other cells that train alike (:mod:`vitrail.studies.trainings`).
    """

    arm: str
    role: Role
    seed: int
    draw: int
    recipe: Mapping[str, Any]
    evaluation: str
    setting: Mapping[str, Any]
    probe: str | None = None
    training: str | None = None

    @cached_property
    def identity(self) -> str:
        """Hash over everything that the result depends on."""
        recipe = {
            name: value for name, value in self.recipe.items() if name not in ("name", "about", "report")
        }
        return key("cell", recipe, self.evaluation, self.probe)[:16]

    @property
    def name(self) -> str:
        """A file name that a person can read."""
        arm = re.sub(r"[^A-Za-z0-9._-]+", "-", self.arm).strip("-._") or "arm"
        return f"{arm}-{self.draw}-{self.identity}"


class Store:
    """The results of a study's cells, one file each, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, cell: Cell) -> Path:
        """Where the result of a cell is."""
        return self.folder / f"{cell.name}.json"

    def get(self, cell: Cell) -> dict[str, Any] | None:
        """The result of a finished cell; None if it is still to be run."""
        path = self.path(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, cell: Cell, result: Mapping[str, Any]) -> None:
        """Keep a result. ValueError for a cell that has one."""
        if self.path(cell).exists():
            raise ValueError(
                f"{cell.arm} with seed {cell.seed} and draw {cell.draw} was run already; a seed counts once"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "arm": cell.arm,
            "role": cell.role,
            "seed": cell.seed,
            "draw": cell.draw,
            "setting": dict(cell.setting),
            "identity": cell.identity,
            **result,
        }
        atomic.write_json(self.path(cell), whole)

    def any(self) -> bool:
        """Whether any cell has finished."""
        return any(self.folder.glob("*.json"))


class Fixed:
    """What a study has decided, step by step. A decision is written once and never changed.

    ``folder/<name>.json``: ``rule`` before anything runs, ``steps`` after the pilot, ``seeds`` after the A/A run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def get(self, name: str) -> dict[str, Any] | None:
        """A decision, if it was made."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def fix(self, name: str, decision: Mapping[str, Any]) -> dict[str, Any]:
        """Make a decision, or find it made. ValueError if another one was made before, with what differs."""
        from vitrail.storage.runs import compare

        wanted = json.loads(json.dumps(decision, allow_nan=False))
        there = self.get(name)
        if there is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(self.folder / f"{name}.json", wanted)
            return wanted
        differences = compare(there, wanted)
        if differences:
            lines = [f"  {field}: {before!r} then, {now!r} now" for field, before, now in differences[:8]]
            raise ValueError(
                "\n".join(
                    [
                        f"{self.folder.parent} was begun under another rule, and its cells count under that one alone:",
                        *lines,
                        "Set these back to go on, or choose another folder.",
                    ]
                )
            )
        return there
