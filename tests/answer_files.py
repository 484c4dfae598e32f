"""Files of answers for tests: of a model that is right as often as asked, on questions of a kind, sure or not."""

from __future__ import annotations

import json
from pathlib import Path

TASK = {
    "name": "colours",
    "scenario": None,
    "instruction": {"name": "plain"},
    "inferencer": {"name": "likelihood", "normalise": "sum", "end": True, "share_prompt": None},
    "metric": {"name": "accuracy"},
}


def header(model: str = "m", condition: str = "trained", **changes) -> dict:
    """A whole header; ``changes`` to fingerprints and task are merged in."""
    prints = {
        "scenario": "abc", "prompt": "p", "inferencer": "i", "metric": "a", "processor": "x", "model": f"w-{model}",
        "transform": "blind" if condition == "blind" else "as_is",
    } | changes.pop("fingerprints", {})  # fmt: skip
    return {
        "key": "header", "type": "header", "version": 1, "task": {**TASK, **changes.pop("task", {})},
        "condition": condition, "model": model, "source": "s", "rows": 40, "fingerprints": prints, "run": {}, **changes,
    }  # fmt: skip


def answer(number: int, correct: bool, **changes) -> dict:
    """One ranked answer of two options, of which the first is right."""
    choice = 0 if correct else 1
    fields = {
        "key": f"row:{number}", "type": "answer", "row": number, "id": f"q{number}", "kind": f"k{number % 2}",
        "cluster": f"p{number}", "names": None, "options": ["red", "blue"], "answer": 0, "reference": None,
        "values": [1.0 - choice, float(choice)], "choice": choice, "tie": False, "prediction": choice,
        "correct": correct, "parsed": True,
    }  # fmt: skip
    return {**fields, **changes}


def write(path: Path, answers: list[dict], **changes) -> Path:
    """A file of ``answers`` behind its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (header(**{"rows": len(answers), **changes}), *answers)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
