"""Catalogue entries and evidence for tests: whole, right, and easy to spoil."""

import json

WHOLE = {
    "id": "ovis",
    "title": "Ovis: Structural Embedding Alignment",
    "year": 2024,
    "arxiv": "2405.20797",
    "kind": "architecture",
    "seams": ["connector"],
    "anatomy": ["tower", "connector"],
    "about": "Pictures get a table of embeddings too. Each patch is a mixture of its rows.",
    "changes": "The connector looks up a learned visual vocabulary.",
    "state": "built",
    "files": ["src/vitrail/registry.py"],
    "use": "import vitrail\n",
    "bibtex": "@misc{ovis, title={Ovis}, year={2024}}",
    "reference": {"repository": "AIDC-AI/Ovis", "licence": "Apache-2.0"},
    "claim": {
        "kind": "superiority",
        "text": "8.8 % over an MLP of the same size.",
        "shows": "capability",
        "study": "Ovis against an MLP as wide.",
    },
    "method": {"set": {"model.connector": {"name": "ovis"}}, "needs": ["fresh model"]},
    "control": {"set": {"model.connector": {"name": "mlp"}}, "about": "An MLP with as many parameters."},
}


def planned(id="later", **changes):
    """A planned entry."""
    values = {name: value for name, value in WHOLE.items() if name not in ("method", "control")}
    title = f"{id.title()}: a method of later"
    return {**values, "id": id, "title": title, "state": "planned", "files": [], "use": "", **changes}


def toml(values, prefix=""):
    """TOML of nested mappings (JSON's texts, lists and numbers are TOML's)."""
    lines, tables = [], []
    for name, value in values.items():
        if isinstance(value, dict) and prefix.count(".") < 1 and "." not in name:
            inner = f"{prefix}{name}"
            tables.append(f"[{inner}]\n{toml(value, f'{inner}.')}")
        else:
            lines.append(f"{json.dumps(name)} = {_inline(value)}")
    return "\n".join([*lines, *tables])


def _inline(value):
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{json.dumps(name)} = {_inline(item)}" for name, item in value.items()) + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def write(folder, *entries):
    """Entries as files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for values in entries:
        (folder / f"{values['id']}.toml").write_text(toml(values), encoding="utf-8")
    return folder


def measured(folder, paper="ovis", testbed="nano", **changes):
    """One evidence file; returns its path."""
    values = {
        "paper": paper,
        "testbed": testbed,
        "verdict": "seen",
        "effect": 3.2,
        "interval": [1.1, 5.3],
        "delta": 2.0,
        "n": 8,
        "unit": "points",
        "date": "2026-03-04",
        "commit": "0123456789abcdef",
        "claim_kind": "superiority",
        "scope": {"parameters": 1_100_000, "tokens": 2_100_000, "data": "scenes-v1", "hardware": "2 cores"},
        "cells": [{"arm": "ovis", "seed": 0}],
        **changes,
    }
    file = folder / paper / f"{testbed}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values), encoding="utf-8")
    return file
