"""Evidence: what a study measured, as a file to be committed, and the check that it can be measured again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrail.storage import atomic
from vitrail.studies.declaring import Study, plain_claim
from vitrail.studies.engine import engine


def effect_unit(outcome: Mapping[str, Any]) -> str:
    """What an outcome's effects are measured in: what its arms' scores are, unless it says otherwise."""
    return str(outcome.get("unit") or next(iter(outcome["arms"].values()))["unit"])


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
        "unit": effect_unit(outcome),
        "reason": first["why"],
        "claim_kind": made.kind,
        "scope": outcome["scope"],
        "date": outcome["date"],
        "commit": environment["commit"] or "",
        "claim": plain_claim(made),
        "shows": made.shows,
        "rule": rest["rule"],
        "contrasts": rest["contrasts"],
        **{name: rest[name] for name in ("indicators", "points") if name in rest},
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
    """Run a part of the evidence again, in ``folder``: the first seed of two arms.

    On a machine of the same fingerprint figures must be equal to the last bit; elsewhere they must lie within what the
    evidence's seeds spread over (see each engine's ``again``). Returns ``equal``, ``within``, ``same_machine`` and both
    figures by name under ``scores``.
    """
    from vitrail.storage.environment import describe, fingerprint

    found = engine(made.design(evidence["testbed"]), folder, **how).again(evidence)
    # Cells have threads of their own; how many this process would use says nothing.
    here, there = ({**one, "threads": None} for one in (describe(), evidence["environment"]))
    same_machine = fingerprint(here) == fingerprint(there)
    return {**found, "same_machine": same_machine}
