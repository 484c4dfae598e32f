"""From finished cells to effect, gates and verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from vitrail.statistics.crossed import crossed_difference
from vitrail.statistics.intervals import Estimate, mean_t
from vitrail.statistics.power import detectable
from vitrail.statistics.verdicts import Decision, Rule, both, decide, not_testable
from vitrail.studies.design import Cost, Design

Result = Mapping[str, Any]


def effect_of(design: Design, control: Sequence[Result], method: Sequence[Result]) -> Estimate:
    """The paired effect, pairs in order: over seeds, or over seeds and items where all ask the same ones."""
    if [one["draw"] for one in control] != [one["draw"] for one in method]:
        raise ValueError("cells of method and control are no pairs: their draws differ")
    if design.effect is not None:
        return design.effect(control, method)
    if design.fresh:
        return mean_t(
            [design.of(b) - design.of(a) for a, b in zip(control, method, strict=True)], design.rule.level
        )
    ids = control[0]["ids"]
    if any(one["ids"] != ids for one in (*control, *method)):
        raise ValueError(
            "cells did not answer the same questions, so that they cannot be paired item by item"
        )
    return crossed_difference(
        [one["values"] for one in method],
        [one["values"] for one in control],
        control[0]["clusters"],
        design.rule.level,
    )


def gates(design: Design, control: Sequence[Result], edges: Sequence[str]) -> list[str]:
    """Why the claim cannot be tested here; empty if it can."""
    found = []
    scores = [one["score"] for one in control]
    chance = control[0].get("chance")
    if chance is not None and design.effect is None and design.figure is None:
        base = mean_t(scores)
        if base.low <= chance:
            found.append(
                f"the control is at the floor: {100 * base.value:.1f} % right [{100 * base.low:.1f}, "
                f"{100 * base.high:.1f}], and guessing gets {100 * chance:.1f} %"
            )
        if design.kind == "superiority" and base.value + design.delta > 1:
            found.append(
                f"the control is at the ceiling: {100 * base.value:.1f} % right leave no room for the smallest effect "
                f"that matters, {100 * design.delta:g} points"
            )
    if design.figure is not None and design.figure.chance is not None:
        own = mean_t([design.figure.of(one) for one in control])
        if own.low <= design.figure.chance:
            found.append(
                f"the control is at the floor: {design.figure.name} {own.value:.3f} [{own.low:.3f}, {own.high:.3f}], "
                f"and guessing gets {design.figure.chance:g}"
            )
    found += [f"the best learning rate of {arm} is the outermost that was tried" for arm in edges]
    return found


def cost_decision(cost: Cost, control: Sequence[Result], method: Sequence[Result], level: float) -> Decision:
    """Whether the method's cost is at most ``cost.at_most`` of the control's, over the same pairs."""
    pairs = zip(control, method, strict=True)
    saved = [math.log(cost.at_most) - math.log(b[cost.measure] / a[cost.measure]) for a, b in pairs]
    if max(saved) - min(saved) < 1e-12:  # operations and parameters are what they are
        found = Estimate(saved[0], saved[0], saved[0], len(saved), len(saved), level)
    else:
        found = mean_t(saved, level)
    return decide(found, Rule("exactness", 0.0, level))


def verdict(
    design: Design, control: Sequence[Result], method: Sequence[Result], edges: Sequence[str]
) -> tuple[Decision, Decision | None]:
    """The decision about the primary quantity, and that about the cost where the claim has one."""
    closed = gates(design, control, edges)
    effect = effect_of(design, control, method)
    saved = None
    if design.cost is not None:
        saved = cost_decision(design.cost, control, method, design.rule.level)
    if closed:
        return Decision("not testable here", effect, effect.high < 0, "; ".join(closed)), saved
    return decide(effect, design.rule), saved


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Means over an arm's cells: score with its spread, by kind, and costs."""
    scores = [one["score"] for one in results]
    kinds = sorted({kind for one in results for kind in one["by_kind"]})
    spent = (
        "train_seconds",
        "peak_bytes",
        "flops",
        "parameters",
        "trained",
        "samples",
        "tokens",
        "steps",
        "seconds",
    )
    return {
        "n": len(results),
        "score": mean(scores),
        "sd": stdev(scores) if len(scores) > 1 else None,
        "unit": results[0]["unit"],
        "chance": results[0].get("chance"),
        "by_kind": {
            kind: mean([one["by_kind"][kind]["score"] for one in results if kind in one["by_kind"]])
            for kind in kinds
        },
        "costs": {name: mean([one[name] or 0 for one in results]) for name in spent},
        "probe": {
            name: mean([one["probe"][name] for one in results]) for name in results[0].get("probe", {})
        },
    }


def contrast(
    design: Design, name: str, control: Sequence[Result], method: Sequence[Result], edges: Sequence[str]
) -> dict[str, Any]:
    """One method against the control, as plain values: effect, interval, verdict and why."""
    decision, saved = verdict(design, control, method, edges)
    effect = decision.effect
    assert effect is not None
    whole = decision.verdict if saved is None else both([decision, saved])
    if decision.verdict == "not testable here":
        whole = decision.verdict
    differences = [design.of(b) - design.of(a) for a, b in zip(control, method, strict=True)]
    sd = stdev(differences) if len(differences) > 1 else 0.0
    found: dict[str, Any] = {
        "method": name,
        "control": design.control.name,
        "n": len(method),
        "effect": effect.value,
        "interval": [effect.low, effect.high],
        "level": effect.level,
        "verdict": whole,
        "harm": decision.harm,
        "why": decision.why,
        "differences": differences,
        "detectable": detectable(len(method), sd, level=effect.level) if len(method) > 1 else None,
    }
    if design.cost is not None and saved is not None and saved.effect is not None:
        measure = design.cost.measure
        found["cost"] = {
            "measure": measure,
            "at_most": design.cost.at_most,
            "ratio": design.cost.at_most / math.exp(saved.effect.value),
            "verdict": saved.verdict,
        }
    return found


def too_few(done: int, wanted: int, mock: bool = False) -> Decision:
    """The time ended before there were pairs enough, or nothing else was meant."""
    if mock:
        pairs = "pair" if done == 1 else "pairs"
        return not_testable(f"a mock runs {done} {pairs} of seeds of two steps each; it gives no verdict")
    return not_testable(
        f"the time ended after {done} of {wanted} pairs of seeds; give more (--budget) and run it again: what has been "
        "done counts"
    )
