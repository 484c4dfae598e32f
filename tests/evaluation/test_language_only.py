"""What all text-only models answer is dropped; what one of them misses stays."""

from __future__ import annotations

import json

import pytest

from conftest import chat
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation.language_only import needs_picture, solved_without_picture

SOURCE = ListSource(
    [
        chat("?", seed=n, id=f"q{n}").model_copy(update={"choices": Choices(options=("a", "b"), answer=0)})
        for n in range(4)
    ]
)


def answers(path, right, scenario=None):
    header = {"key": "header", "type": "header", "version": 1, "rows": 4}
    header["fingerprints"] = {"scenario": scenario or SOURCE.fingerprint}
    rows = [{"key": f"row:{n}", "type": "answer", "row": n, "correct": one} for n, one in enumerate(right)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]))
    return path


def test_only_what_every_model_solves_goes(tmp_path):
    one = answers(tmp_path / "one.jsonl", [True, True, False, True])
    two = answers(tmp_path / "two.jsonl", [True, False, True, True])
    assert solved_without_picture([one, two]) == {0, 3}
    kept = needs_picture(SOURCE, [one, two])
    assert [record.id for record in kept] == ["q1", "q2"] and "needs the picture" in kept.name
    other = answers(tmp_path / "other.jsonl", [True] * 4, "other")
    with pytest.raises(ValueError, match="answer other questions"):
        needs_picture(SOURCE, [one, other])
    with pytest.raises(ValueError, match="answers other questions than"):
        needs_picture(SOURCE, [other])
    with pytest.raises(ValueError, match="at least one file"):
        solved_without_picture([])
