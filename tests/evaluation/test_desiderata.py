"""ChEF's measures on numbers worked by hand, on planted answers, and as tasks on a model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from conftest import chat
from vitrail.data.records import Choices
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task
from vitrail.evaluation.desiderata import (
    CORRUPTED,
    DESIDERATA,
    figures,
    match_ratio,
    measure,
    plan,
    rate_language,
    relative_robustness,
    riam,
    spread,
)
from vitrail.inference.answerers import FunctionAnswerer


def question(number, options=("a cat", "a dog", "a cow")):
    asked = chat(f"What is number {number}?", seed=number, id=f"q{number}")
    return asked.model_copy(update={"choices": Choices(options=options, answer=number % len(options))})


def rows(chosen, answers=None, options=4):
    answers = answers or [0] * len(chosen)
    return [
        {
            "id": f"q{n}",
            "cluster": f"p{n}",
            "options": [str(option) for option in range(options)],
            "answer": answer,
            "prediction": choice,
            "correct": choice == answer,
        }
        for n, (choice, answer) in enumerate(zip(chosen, answers, strict=True))
    ]


def answered(**files):
    return {name: SimpleNamespace(rows=some) for name, some in files.items()}


def test_ratios_by_hand():
    assert relative_robustness(0.6, 0.6, 0.25) == (1.0, 1.0)
    assert relative_robustness(0.25, 0.75, 0.25) == (1 / 3, 0.0)
    assert relative_robustness(0.2, 0.75, 0.25)[1] < 0, "below chance is below zero"
    with pytest.raises(ValueError, match="relative robustness is not defined"):
        relative_robustness(0.3, 0.25, 0.25)
    assert riam(0.7, 0.5, 0.25) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="RIAM is not defined"):
        riam(0.7, 0.25, 0.25)
    assert spread([0.5, 0.5]) == 0.0 and spread([0.4, 0.6]) == pytest.approx(0.1)


def test_a_model_that_chooses_by_content_has_a_full_match_ratio():
    chosen = [0, 1, 2, 3]
    assert match_ratio(rows(chosen), rows(chosen)) == 1.0
    by_letter = [(place + 1) % 4 for place in chosen]
    assert match_ratio(rows(chosen), rows(by_letter)) == 0.0
    with pytest.raises(ValueError, match="no question in common"):
        match_ratio(rows(chosen), [])


def test_robustness_of_planted_answers():
    clean = rows([0] * 8)
    half = rows([0] * 4 + [1] * 4)
    changes = {f"{family}: {one}": half for family, some in CORRUPTED.items() for one in some}
    found = {one.name: one.value for one in figures("robustness", answered(base=clean, **changes))}
    assert found["RRM, image"] == pytest.approx((0.5 - 0.25) / 0.75) and found["RR, both"] == 0.5
    at_chance = answered(base=rows([0, 1, 2, 3] * 2), **changes)
    assert figures("robustness", at_chance)[0].value is None


def test_hallucination_of_an_always_yes_model():
    said = [
        {**row, "options": ["yes", "no"], "kind": "random"}
        for row in rows([0] * 6, answers=[0, 1] * 3, options=2)
    ]
    found = {one.name: one.value for one in figures("hallucination", answered(base=said))}
    assert found["recall"] == 1.0 and found["yes ratio"] == 1.0 and found["precision"] == 0.5
    with pytest.raises(ValueError, match="options are yes and no"):
        figures("hallucination", answered(base=rows([0])))


def test_plans_name_what_there_is():
    task = Task(name="t")
    sizes = {name: len(plan(name, task)) for name in DESIDERATA}
    assert sizes == {
        "calibration": 1, "in_context": 10, "instruction_following": 7, "hallucination": 1, "robustness": 11,
    }  # fmt: skip
    with pytest.raises(ValueError, match="did you mean 'calibration'"):
        plan("calibraton", task)


def test_a_model_is_measured(nano, tmp_path):
    source = ListSource([question(n) for n in range(6)])
    wanted = ("calibration", "in_context", "instruction_following")
    found = measure(wanted, Task(name="t"), nano, tmp_path, source=source, retrievers=("random",))
    names = {name: [one.name for one in some] for name, some in found.items()}
    assert names["calibration"][:2] == ["ECE", "ECE after temperature"]
    assert names["in_context"] == ["RIAM", "without examples", "random, 1", "random, 2", "random, 3"]
    assert names["instruction_following"][0] == "match ratio"
    assert all(0 <= one.value <= 1 for one in found["instruction_following"])
    assert len(list(tmp_path.glob("t*/trained.jsonl"))) == 1 + 3 + 7


def test_a_judge_rates_thoughts():
    judge = FunctionAnswerer(lambda asked: "I say 8." if "clear" in asked.messages[-1].text else "hm")
    told = [
        {**row, "thought": thought} for row, thought in zip(rows([0, 1]), ("clear", "murky"), strict=True)
    ]
    found = rate_language(told, {"q0": "What?"}, judge, replies=2)
    assert (found.value, found.n) == (0.8, 1), "what cannot be read is left out"
    with pytest.raises(ValueError, match="no row holds a thought"):
        rate_language(rows([0]), {}, judge)


def test_a_task_survives_a_yaml_file(tmp_path):
    from vitrail.evaluation.desiderata import _shots

    task = _shots(Task(name="t", instruction={"name": "template", "query": "brief"}), "random", 2).task
    task.write(tmp_path / "task.yaml")
    assert Task.read(tmp_path / "task.yaml") == task
    (tmp_path / "bad.yaml").write_text("[1, 2]")
    with pytest.raises(ValueError, match="is no file of a task"):
        Task.read(tmp_path / "bad.yaml")
