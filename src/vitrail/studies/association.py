"""From an association's design to its verdict: every arm on every seed, and how one figure ranks them by another.

``outcome.json`` has one contrast, of figure ``x`` with figure ``y``; its effect is Spearman's ρ times the sign that the
claim gives it, over arms' means. Beside it, without verdicts: ``indicators`` (other figures held against ``y``, and by
how much ``x`` is ahead of them), ``points`` (each arm's means), and context arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from vitrail.statistics.intervals import Estimate, mean_t
from vitrail.statistics.rank_correlation import Table, correlation_gain, rank_correlation
from vitrail.statistics.verdicts import decide, not_testable
from vitrail.studies.arms import Arm
from vitrail.studies.design import Association, Figure, signed
from vitrail.studies.running import Results, Running

UNIT = "rank correlation"
DIFFERENT = 0.05
"""Arms that differ less than so surely (p of an analysis of variance over seeds) cannot be ranked."""
Measured = Mapping[str, Sequence[Mapping[str, Any]]]
"""The cells of each arm, seeds in order."""


class AssociationRun(Running):
    """One association in its folder; see :class:`vitrail.studies.running.Running`."""

    design: Association

    def _found(self) -> dict[str, Any]:
        design = self.design
        self._given_length(design.steps)
        points = self._of("seeds", design.points, range(1, design.seeds + 1))
        context = self._of("context", design.context, self._context_seeds()) if design.context else {}
        whole = {name: cells for name, cells in points.items() if len(cells) == design.seeds}
        scope = {"arms": len(whole), "seeds": design.seeds}
        return {
            **self._told({**points, **context}, design.points, scope),
            "unit": UNIT,
            "contrasts": [contrast(design, whole)],
            "indicators": indicators(design, whole),
            "points": means(design, whole),
            "tuning": {},
            "seeds": {"n": design.seeds},
        }

    def _of(self, phase: str, arms: Sequence[Arm], draws: range) -> dict[str, Results]:
        """The cells of arms, by arm; one seed after the other, so that time that ends early leaves whole seeds."""
        role = "primary" if phase == "seeds" else "context"
        wanted = [self._cell(arm, role, draw=draw) for draw in draws for arm in arms]
        done = self._cells(phase, wanted, self._until())
        found: dict[str, Results] = {arm.name: [] for arm in arms}
        for one in done:
            found[one["arm"]].append(one)
        return found

    def again(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        """The first seed of the first and the last arm, both figures of each.

        A figure must lie within its seeds' spread: mean ± 4 standard deviations, or 4 items of a score.
        """
        self._take({"seconds_a_cell": None, **evidence["length"]})
        arms = (self.design.points[0], self.design.points[-1])
        found = self._cells("verify", [self._cell(arm, "primary", draw=1) for arm in arms])
        scores, within = {}, True
        for result in found:
            kept = [one for one in evidence["cells"] if one["arm"] == result["arm"]]
            before = next(one for one in kept if one["draw"] == 1)
            for figure in (self.design.x, self.design.y):
                seeds = [figure.of(one) for one in kept]
                least = 4 / max(1, len(result["values"])) if figure.field == "score" else 1e-9
                within = within and abs(figure.of(result) - mean(seeds)) <= max(4 * stdev(seeds), least)
                name = f"{result['arm']}, {figure.name}"
                scores[name] = {"again": figure.of(result), "evidence": figure.of(before)}
        equal = all(one["again"] == one["evidence"] for one in scores.values())
        return {"equal": equal, "within": within, "scores": scores}


def table(figure: Figure, points: Measured) -> list[list[float]]:
    """The figure of every arm on every seed."""
    return [[figure.of(cell) for cell in cells] for cells in points.values()]


def means(design: Association, points: Measured) -> list[dict[str, Any]]:
    """For each arm the means of all figures over its seeds, and their spread."""
    figures = (design.x, design.y, *design.indicators)
    return [
        {
            "arm": name,
            **{one.name: mean([one.of(cell) for cell in cells]) for one in figures},
            "spread": {
                one.name: stdev([one.of(cell) for cell in cells]) if len(cells) > 1 else None
                for one in figures
            },
        }
        for name, cells in points.items()
    ]


def gates(design: Association, points: Measured) -> list[str]:
    """Why the claim cannot be tested here; empty if it can."""
    found = []
    for figure in (design.x, design.y):
        p = differ(table(figure, points))
        if not p < DIFFERENT:
            found.append(
                f"the arms do not differ in {figure.name} by more than their seeds do (analysis of variance, "
                f"p = {p:.2g}), so that there is nothing to rank"
            )
    first = next(iter(points.values()))[0]
    if design.y.field == "score" and first.get("chance") is not None:
        lows = [mean_t([cell["score"] for cell in cells]).low for cells in points.values()]
        if max(lows) <= first["chance"]:
            found.append(f"no arm is surely above guessing ({100 * first['chance']:.1f} %)")
    return found


def differ(rows: Table) -> float:
    """p of a one-way analysis of variance: how likely groups with equal means differ as much. 1 for equal figures."""
    from scipy.stats import f_oneway

    if len({value for row in rows for value in row}) == 1:
        return 1.0
    if all(len(set(row)) == 1 for row in rows):  # no noise at all
        return 0.0
    return float(f_oneway(*rows).pvalue)


def contrast(design: Association, points: Measured) -> dict[str, Any]:
    """``x`` with ``y``, as plain values in the form that a comparison's contrasts have."""
    found: dict[str, Any] = {
        "method": design.x.name,
        "control": design.y.name,
        "n": len(points),
        "effect": None,
        "interval": None,
        "level": design.level,
        "verdict": "not testable here",
        "harm": False,
        "why": "",
        "differences": [],
        "detectable": None,
    }
    if len(points) < design.need or design.mock:
        return {**found, "why": _too_few(design, len(points))}
    closed = gates(design, points)
    try:
        effect = design.estimate(table(design.x, points), table(design.y, points))
    except ValueError as error:
        return {**found, "why": "; ".join([*closed, str(error)])}
    decision = not_testable("; ".join(closed)) if closed else decide(effect, design.rule)
    return {
        **found,
        "effect": effect.value,
        "interval": [effect.low, effect.high],
        "verdict": decision.verdict,
        "harm": decision.harm,
        "why": decision.why,
    }


def _too_few(design: Association, done: int) -> str:
    if design.mock:
        return f"a mock runs {done} arms of two steps each; it gives no verdict"
    return (
        f"the time ended when {done} of {len(design.points)} arms were done, and a verdict needs {design.need}; run it "
        "again: what has been done counts"
    )


def indicators(design: Association, points: Measured) -> list[dict[str, Any]]:
    """Each indicator's ρ with ``y`` times its sign, and how far ``x`` is ahead of it, with intervals.

    Empty for too few arms, for a mock, and for claims whose effect is no rank correlation.
    """
    if len(points) < design.need or design.mock or design.fit is not None:
        return []
    y = table(design.y, points)
    found = []
    for one in (design.x, *design.indicators):
        row: dict[str, Any] = {
            "name": one.name,
            "sign": one.sign,
            "effect": None,
            "interval": None,
            "why": "",
        }
        try:
            own = table(one, points)
            row |= _plain(signed(rank_correlation(own, y, design.level), one.sign))
            if one is not design.x:
                x = table(design.x, points)
                ahead = correlation_gain(x, own, y, (design.x.sign, one.sign), design.level)
                row["x ahead"] = _plain(ahead)
        except ValueError as error:
            row["why"] = str(error)
        found.append(row)
    return found


def _plain(found: Estimate) -> dict[str, Any]:
    return {"effect": found.value, "interval": [found.low, found.high]}
