"""A comparison, from its design to a verdict: lengths, tuning, an A/A run, pairs of seeds, context.

Beside what every study writes (``running.py``): ``fixed/steps.json``, ``tuning.json`` and ``seeds.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrail.statistics.power import FEWEST, noise, power, seeds_needed
from vitrail.studies import outcome, spending
from vitrail.studies.arms import Arm
from vitrail.studies.cells import Cell
from vitrail.studies.design import Association, Design
from vitrail.studies.planted import Planted
from vitrail.studies.running import CONTEXT_SEEDS, Listener, Results, Running, Silent
from vitrail.studies.setting_up import TUNING_DRAW, TWIN
from vitrail.studies.tuning import Trial, Tuned, tune

__all__ = ["CONTEXT_SEEDS", "Comparison", "Listener", "Silent", "engine"]


def engine(design: Design | Association, folder: Path, **how: Any) -> Running:
    """What takes ``design`` to its outcome in ``folder``; ``how`` are the settings of :class:`Running`."""
    if isinstance(design, Association):
        from vitrail.studies.association import AssociationRun

        return AssociationRun(design, folder, **how)
    if isinstance(design, Planted):
        from vitrail.studies.planted_run import PlantedRun

        return PlantedRun(design, folder, **how)
    return Comparison(design, folder, **how)


class Comparison(Running):
    """Methods against a control, pair by pair of seeds."""

    design: Design

    def _found(self) -> dict[str, Any]:
        self._length()
        tuned = self._tuned()
        n, planned = self._seeds(tuned)
        control, methods = self._primary(tuned, n)
        context = self._context(tuned)
        return self._outcome(tuned, planned, control, methods, context)

    def again(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """The first pair of seeds, the first method against the control, or the control alone where no arm was run.

        The pair's difference must lie within the spread of the evidence's pairs: mean ± 4 standard deviations, or 4
        items.
        """
        self._take({"seconds_a_cell": None, **evidence["length"]})
        tuned, draw = evidence["tuning"], 1
        other = self._measured_again(evidence)
        arms = [self.design.control, *([] if other is self.design.control else [other])]
        cells = [
            self._cell(arm, "primary", draw=draw, seed=draw, factor=tuned[arm.name]["factor"],
                       settings=tuned[arm.name]["settings"])
            for arm in arms
        ]  # fmt: skip
        found = self._cells("verify", cells)
        difference = self.design.of(found[-1]) - (self.design.of(found[0]) if len(found) > 1 else 0.0)
        differences = self._differences_in(evidence)
        mean = sum(differences) / len(differences)
        squares = sum((one - mean) ** 2 for one in differences)
        spread = (squares / max(1, len(differences) - 1)) ** 0.5
        width = max(4 * spread, 4 / max(1, len(found[0]["values"])))
        scores = {one["arm"]: {"again": one["score"], "evidence": _kept(evidence, one)} for one in found}
        return {
            "equal": all(pair["again"] == pair["evidence"] for pair in scores.values()),
            "within": abs(difference - mean) <= width,
            "scores": scores,
        }

    def _measured_again(self, evidence: Mapping[str, Any]) -> Arm:
        """The arm whose first pair of seeds is run again."""
        return self.design.methods[0]

    def _differences_in(self, evidence: Mapping[str, Any]) -> Sequence[float]:
        """Of the first method from the control, pair by pair, in an evidence."""
        return evidence["contrasts"][0]["differences"]

    # Phases

    def _compared(self) -> tuple[Arm, ...]:
        return (self.design.control, *self.design.methods)

    def _length(self) -> None:
        """Steps, questions and precision: the design's own, or what the budget allows after a pilot of each arm."""
        design = self.design
        if design.steps is not None or self.seconds is None:
            self._given_length(design.steps)
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

    def _primary(self, tuned: Mapping[str, Tuned], n: int) -> tuple[Results, dict[str, Results]]:
        arms = self._compared()
        wanted = [self._run_of(arm, tuned, "primary", draw, draw) for draw in range(1, n + 1) for arm in arms]
        done = self._cells("seeds", wanted, self._until())
        pairs = len(done) // len(arms)
        results = [done[index :: len(arms)][:pairs] for index in range(len(arms))]
        named = dict(zip([arm.name for arm in arms[1:]], results[1:], strict=True))
        return results[0], named

    def _context(self, tuned: Mapping[str, Tuned]) -> dict[str, Results]:
        arms = self.design.context
        draws = self._context_seeds()
        wanted = [self._run_of(arm, tuned, "context", draw, draw) for arm in arms for draw in draws]
        done = self._cells("context", wanted, self._until()) if wanted else []
        found: dict[str, Results] = {}
        for one in done:
            found.setdefault(one["arm"], []).append(one)
        return found

    def _outcome(
        self,
        tuned: Mapping[str, Tuned],
        planned: Mapping[str, Any],
        control: Results,
        methods: Mapping[str, Results],
        context: Mapping[str, Results],
    ) -> dict[str, Any]:
        design = self.design
        arms = {design.control.name: control, **methods, **context}
        return {
            **self._told(arms, (design.control,), {}),
            **({} if design.figure is None else {"unit": design.figure.name}),
            "contrasts": [self._contrast(name, tuned, control, cells) for name, cells in methods.items()],
            "tuning": {name: one.as_json() for name, one in tuned.items()},
            "seeds": dict(planned),
        }

    def _contrast(
        self,
        name: str,
        tuned: Mapping[str, Tuned],
        control: Results,
        method: Results,
    ) -> dict[str, Any]:
        design = self.design
        if len(method) < FEWEST:
            decision = outcome.too_few(len(method), FEWEST, design.mock)
            return {"method": name, "control": design.control.name, "n": len(method), "effect": None,
                    "interval": None, "level": design.rule.level, "verdict": decision.verdict, "harm": False,
                    "why": decision.why, "differences": [], "detectable": None}  # fmt: skip
        edges = [arm for arm in (design.control.name, name) if tuned[arm].edge]
        return outcome.contrast(design, name, control, method, edges)


def _kept(evidence: Mapping[str, Any], result: Mapping[str, Any]) -> float:
    """The score that evidence has of the same arm, draw and seed."""
    same = ("arm", "draw", "seed")
    return next(one["score"] for one in evidence["cells"] if all(one[name] == result[name] for name in same))
