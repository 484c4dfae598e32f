"""Evidence: what a study measured, as a file to be committed, and the check that it can be measured again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrail.storage import atomic
from vitrail.studies.declaring import Study, plain_claim
from vitrail.studies.engine import Comparison


def as_evidence(made: Study, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome in the form that the catalogue reads: the primary contrast at the top, everything else beside it."""
    first, rest = outcome["contrasts"][0], dict(outcome)
    environment = rest.pop("environment")
    return {
        "paper": made.paper,
        "testbed": outcome["testbed"],
        "verdict": first["verdict"],
        "effect": first["effect"],
        "interval": first["interval"],
        "delta": outcome["delta"],
        "n": first["n"],
        "unit": next(iter(outcome["arms"].values()))["unit"],
        "reason": first["why"],
        "claim_kind": made.kind,
        "scope": outcome["scope"],
        "date": outcome["date"],
        "commit": environment["commit"] or "",
        "claim": plain_claim(made),
        "shows": made.shows,
        "rule": rest["rule"],
        "contrasts": rest["contrasts"],
        "arms": rest["arms"],
        "tuning": rest["tuning"],
        "seeds": rest["seeds"],
        "length": rest["length"],
        "environment": environment,
        "cells": rest["cells"],
    }


def write(made: Study, outcome: Mapping[str, Any], root: Path) -> Path:
    """Write ``<root>/<paper>/<testbed>.json``; returns where."""
    path = Path(root) / made.paper / f"{outcome['testbed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, as_evidence(made, outcome))
    return path


def verify(made: Study, evidence: Mapping[str, Any], folder: Path, **how: Any) -> dict[str, Any]:
    """Run one pair of seeds again, as the evidence has it, in ``folder``.

    On a machine of the same fingerprint scores must be equal to the
    last bit; elsewhere the pair's difference must lie within the spread of the evidence's pairs (mean ± 4 standard
    deviations, or 4 items). Returns ``equal``, ``within``, ``same_machine`` and the scores.
    """
    from vitrail.storage.environment import describe

    design = made.design(evidence["testbed"])
    comparison = Comparison(design, folder, **how)
    comparison._take({"seconds_a_cell": None, **evidence["length"]})
    tuned = evidence["tuning"]
    first = evidence["contrasts"][0]
    draw = 1
    cells = [
        comparison._cell(arm, "primary", draw=draw, seed=draw, factor=tuned[arm.name]["factor"],
                         settings=tuned[arm.name]["settings"])
        for arm in (design.control, design.methods[0])
    ]  # fmt: skip
    found = comparison._cells("verify", cells)
    kept = {one["arm"]: one for one in evidence["cells"] if one["draw"] == draw and one["seed"] == draw}
    same_machine = describe()["fingerprint"] == evidence["environment"]["fingerprint"]
    scores = {one["arm"]: (one["score"], kept[one["arm"]]["score"]) for one in found}
    difference = found[1]["score"] - found[0]["score"]
    mean = sum(first["differences"]) / len(first["differences"])
    spread = (
        sum((one - mean) ** 2 for one in first["differences"]) / max(1, len(first["differences"]) - 1)
    ) ** 0.5
    width = max(4 * spread, 4 / max(1, len(found[0]["values"])))
    return {
        "equal": all(again == before for again, before in scores.values()),
        "within": abs(difference - mean) <= width,
        "same_machine": same_machine,
        "scores": {arm: {"again": again, "evidence": before} for arm, (again, before) in scores.items()},
    }
