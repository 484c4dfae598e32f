"""From a suite's planted weaknesses to their verdicts: a comparison whose arms are each judged on every ability.

The control is run first, for all seeds: an ability that it has not learnt cannot be lost, and no arm is run for it; nor
is any where fewer than two are left. ``outcome.json`` has one contrast for the whole (the least that any ability lost)
and one for each ability; a contrast's ``moves`` say what every ability lost in that arm, with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from vitrail.statistics.intervals import Estimate, mean_t
from vitrail.statistics.isolation import Found, isolated
from vitrail.statistics.power import FEWEST
from vitrail.statistics.verdicts import both
from vitrail.studies import outcome
from vitrail.studies.arms import Arm
from vitrail.studies.engine import Comparison
from vitrail.studies.planted import WHOLE, Ability, Planted
from vitrail.studies.running import Results
from vitrail.studies.tuning import Tuned


class PlantedRun(Comparison):
    """One suite's planted weaknesses in their folder."""

    design: Planted

    def _primary(self, tuned: Mapping[str, Tuned], n: int) -> tuple[Results, dict[str, Results]]:
        """As any comparison's in a mock or under a budget of time, else the control's cells before all others."""
        design = self.design
        if design.mock or self.seconds is not None or n < FEWEST:
            return super()._primary(tuned, n)
        draws = range(1, n + 1)
        control = self._cells(
            "control", [self._run_of(design.control, tuned, "primary", i, i) for i in draws]
        )
        closed = {one.name for one in design.abilities if floor(one, control, design.delta)}
        pairs = zip(design.abilities, design.methods, strict=True)
        arms = [arm for one, arm in pairs if one.name not in closed]
        if closed:
            self.listener.note(f"at the floor of {', '.join(sorted(closed))}: arms without them are not run")
        if len(arms) < 2:
            return control, {}
        wanted = [self._run_of(arm, tuned, "primary", i, i) for i in draws for arm in arms]
        done = self._cells("seeds", wanted)
        return control, {arm.name: done[index :: len(arms)] for index, arm in enumerate(arms)}

    def _outcome(
        self,
        tuned: Mapping[str, Tuned],
        planned: Mapping[str, Any],
        control: Results,
        methods: Mapping[str, Results],
        context: Mapping[str, Results],
    ) -> dict[str, Any]:
        design = self.design
        whole = super()._outcome(tuned, planned, control, {}, context)
        arms = {design.control.name: control, **methods}
        told = self._told({**arms, **context}, (design.control,), {})
        return {**whole, **told, "contrasts": contrasts(design, control, methods)}

    def _measured_again(self, evidence: Mapping[str, Any]) -> Arm:
        """The first arm that was run; the control where none was."""
        run = {one["arm"] for one in evidence["cells"]}
        return next((arm for arm in self.design.methods if arm.name in run), self.design.control)

    def _differences_in(self, evidence: Mapping[str, Any]) -> list[float]:
        """Of that arm's whole score, from the evidence's cells; the control's own scores where no arm was run."""
        other = self._measured_again(evidence)
        names = (self.design.control.name, other.name)
        control, scores = (
            {one["draw"]: one["score"] for one in evidence["cells"] if one["arm"] == name} for name in names
        )
        if other is self.design.control:
            return [*control.values()]
        return [scores[draw] - control[draw] for draw in control]


def contrasts(design: Planted, control: Results, methods: Mapping[str, Results]) -> list[dict[str, Any]]:
    """The whole's, then one for each ability, then those that nobody was taught."""
    names = [one.name for one in design.abilities]
    n = len(control)
    if n < FEWEST:
        why = outcome.too_few(n, FEWEST, design.mock).why
        rows = {name: _row(design, _lost(name), n, why=why) for name in names}
        whole = _row(design, WHOLE, n, why=why)
    else:
        rows, whole = _judged(design, control, methods)
    none = [_row(design, _lost(name), 0, why=why) for name, why in design.untaught.items()]
    return [whole, *rows.values(), *none]


def _judged(
    design: Planted, control: Results, methods: Mapping[str, Results]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Every ability's contrast, in the design's order, and the whole's."""
    pairs = zip(design.abilities, design.methods, strict=True)
    arms = {one.name: methods.get(arm.name, []) for one, arm in pairs}
    own = {
        one.name: losses(one, control, arms[one.name]) if arms[one.name] else [] for one in design.abilities
    }
    closed = {one.name: why for one in design.abilities if (why := floor(one, control, design.delta))}
    open_ = [one for one in design.abilities if one.name not in closed]
    if len(open_) < 2:
        alone = "fewer than two abilities are learnt here, so that none could be lost alone"
        rows = {name: _untested(design, _lost(name), own[name], closed.get(name, alone)) for name in own}
        measured = min((one for one in own.values() if one), key=mean, default=[])
        return rows, _untested(design, WHOLE, measured, alone)
    moves = {
        one.name: {other.name: losses(other, control, arms[one.name]) for other in open_} for one in open_
    }
    found = isolated(moves, design.rule)
    rows = {
        name: _told_of(design, name, found[name], own[name])
        if name in found
        else _untested(design, _lost(name), own[name], closed[name])
        for name in own
    }
    least = min(found, key=lambda name: found[name].moves[name].value)
    verdict = both([one.decision for one in found.values()])
    reasons = [
        f"{name}: {one.decision.why}" for name, one in found.items() if one.decision.verdict == verdict
    ]
    whole = {
        **_row(design, WHOLE, len(control), why="" if verdict == "seen" else "; ".join(reasons)),
        **_figures(found[least].moves[least]),
        "verdict": verdict,
        "differences": own[least],
    }
    return rows, whole


def floor(ability: Ability, control: Results, delta: float) -> str:
    """Why an ability cannot be lost: the control has none, or too little of it; empty if it can."""
    base, chance = mean_t([share(ability, one) for one in control]), _chance(ability, control)
    if base.low > chance and base.value - chance >= delta:
        return ""
    return (
        f"the control is at the floor: {100 * base.value:.1f} % right [{100 * base.low:.1f}, {100 * base.high:.1f}], "
        f"and guessing gets {100 * chance:.1f} %"
    )


def share(ability: Ability, result: Mapping[str, Any]) -> float:
    """The share of a cell's questions about an ability that were answered right."""
    return _mean_over(ability, result, "score")


def losses(ability: Ability, control: Results, arm: Results) -> list[float]:
    """What an arm lost of an ability, pair by pair."""
    return [share(ability, a) - share(ability, b) for a, b in zip(control, arm, strict=True)]


def _chance(ability: Ability, control: Results) -> float:
    return mean(_mean_over(ability, one, "chance") for one in control)


def _mean_over(ability: Ability, result: Mapping[str, Any], field: str) -> float:
    kinds = [result["by_kind"][kind] for kind in ability.kinds if kind in result["by_kind"]]
    if not kinds:
        there = ", ".join(result["by_kind"])
        raise ValueError(
            f"nobody asked about {ability.name} ({', '.join(ability.kinds)}); asked were {there}"
        )
    return sum(one[field] * one["n"] for one in kinds) / sum(one["n"] for one in kinds)


def _lost(name: str) -> str:
    return f"{name}, lost where it was left out"


def _row(design: Planted, name: str, n: int, why: str = "") -> dict[str, Any]:
    return {
        "method": name,
        "control": design.control.name,
        "n": n,
        "effect": None,
        "interval": None,
        "level": design.rule.level,
        "verdict": "not testable here",
        "harm": False,
        "why": why,
        "differences": [],
        "detectable": None,
    }


def _untested(design: Planted, name: str, differences: list[float], why: str) -> dict[str, Any]:
    """What was measured all the same, without a verdict; where no arm was run, nothing was."""
    if not differences:
        return _row(design, name, 0, why)
    found = mean_t(differences, design.rule.level)
    return {**_row(design, name, len(differences), why), **_figures(found), "differences": differences}


def _figures(found: Estimate) -> dict[str, Any]:
    return {"effect": found.value, "interval": [found.low, found.high]}


def _told_of(design: Planted, name: str, found: Found, differences: list[float]) -> dict[str, Any]:
    return {
        **_row(design, _lost(name), len(differences), found.decision.why),
        **_figures(found.moves[name]),
        "verdict": found.decision.verdict,
        "differences": differences,
        "p": found.p,
        "moves": {other: _figures(one) for other, one in found.moves.items()},
    }
