"""POPE: official lines, figures of an always-yes model and of chance."""

from __future__ import annotations

import json

import pytest

from official_files import write_picture
from vitrail.evaluation.benchmarks.pope import Pope, yes_no_figures
from vitrail.evaluation.figures import with_baselines


def lines(n, **changes):
    rows = [
        {
            "question_id": k,
            "image": f"COCO_val2014_{k // 2:012}.jpg",
            "text": "Is there a car in the image?",
            "label": ("yes", "no")[k % 2],
        }
        for k in range(n)
    ]
    rows[-1] |= changes
    return "\n".join(map(json.dumps, rows)) + "\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("random", "popular"):
        (tmp_path / f"coco_pope_{name}.json").write_text(lines(6))
    for n in range(3):
        write_picture(tmp_path / "val2014" / f"COCO_val2014_{n:012}.jpg", n)
    return tmp_path


def rows(source, say):
    return [
        {
            "kind": one.kind,
            "cluster": one.cluster,
            "options": ["yes", "no"],
            "answer": one.answer,
            "prediction": say(one),
            "correct": say(one) == one.answer,
        }
        for one in source.questions
    ]


def test_official_lines_and_an_always_yes_model(folder):
    source = Pope(Pope.Config(path=str(folder))).source()
    assert len(source) == 12 and source[0].choices.answer == 0 and source[1].id == "random/1"
    found = {one.name: one for one in with_baselines(yes_no_figures, rows(source, lambda one: 0))}
    assert (
        found["recall"].value == 1.0 and found["yes ratio"].value == 1.0 and found["precision"].value == 0.5
    )
    assert found["F1"].value == pytest.approx(2 / 3) and found["random: accuracy"].n == 6
    assert found["F1"].random == pytest.approx(0.5) and found["yes ratio"].random == pytest.approx(0.5)
    silent = {one.name: one.value for one in yes_no_figures(rows(source, lambda one: 1))}
    assert silent["precision"] is None and silent["F1"] == 0.0


def test_broken_lines_are_named(folder):
    (folder / "coco_pope_popular.json").write_text(lines(2, label="maybe") + "{\n")
    reasons = [str(row) for row in Pope(Pope.Config(path=str(folder))).source().set_aside.rows]
    assert "label: is 'maybe'; it must be yes or no" in reasons[0] and "is not JSON" in reasons[1]
