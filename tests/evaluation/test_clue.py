"""The inferencer ``clue``: rules of its settings or of the record, what it refuses, killed and gone on."""

import json
import shutil

import pytest

from conftest import picture
from vitrail.data.records import Chat
from vitrail.data.sources import ListSource
from vitrail.evaluation import Task, run_task
from vitrail.evaluation.answers import read_answers
from vitrail.recipes.loading import load, plain

RULES = {"rules": [{"id": "a", "text": "No dogs.", "clauses": [["a dog"], ["it is red"]]}]}


def record(number, **meta):
    content = [picture(number), {"type": "text", "text": "Does it break a rule?"}]
    choices = {"options": ["No", "Yes"], "answer": number % 2}
    return Chat(id=str(number), messages=[{"role": "user", "content": content}], choices=choices, meta=meta)


def source(*records):
    return ListSource(records, "tests")


def task(**settings):
    return Task(name="judged", inferencer={"name": "clue", "undecided": "threshold", **settings})


def test_rules_of_the_settings_stand_whole_in_the_task(tmp_path, nano):
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    made = task(constitution=str(tmp_path / "rules.json"))
    assert made.inferencer["constitution"] == RULES and Task.model_validate(made.model_dump()) == made
    rows = read_answers(run_task(made, nano, tmp_path, source=source(record(0), record(1)))).rows
    for row in rows:
        assert row["choice"] == (0 if row["verdict"]["safe"] else 1)  # the options are no and yes here
        assert row["verdict"]["trace"][0]["rule"] == "a"
    made.write(tmp_path / "task.yaml")
    assert Task.read(tmp_path / "task.yaml") == made


def test_rules_of_the_record(tmp_path, nano):
    other = {"rules": [{"id": "b", "text": "x", "clauses": [["a cat"]]}]}
    asked = source(record(0, constitution=RULES), record(1, constitution=other))
    rows = read_answers(run_task(task(), nano, tmp_path, source=asked)).rows
    assert [row["verdict"]["trace"][0]["rule"] for row in rows] == ["a", "b"]


def test_what_cannot_be_judged_is_set_aside(tmp_path, nano):
    two = Chat.model_validate({**record(2).model_dump(), "messages": [_shown(picture(2), picture(9))]})
    words = Chat.model_validate({**record(3).model_dump(), "choices": {"options": ["a", "b"], "answer": 0}})
    path = run_task(task(constitution=RULES), nano, tmp_path, source=source(record(0), two, words))
    reasons = [row["reason"] for row in read_answers(path).set_aside]
    assert "has 2 pictures; a judge looks at one" in reasons[0] and "judged by yes and no" in reasons[1]
    bare = read_answers(run_task(task(), nano, tmp_path / "b", source=source(record(0)))).set_aside
    assert "has no rules; give the inferencer a constitution" in bare[0]["reason"]


def _shown(*pictures):
    return {"role": "user", "content": [*pictures, {"type": "text", "text": "Does it break a rule?"}]}


def test_killed_and_gone_on_it_is_the_same_file(tmp_path, nano):
    records = source(*(record(number) for number in range(6)))
    whole = run_task(task(constitution=RULES), nano, tmp_path / "whole", source=records, batch_size=1)
    lines = whole.read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut" / "judged" / whole.name
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    again = run_task(task(constitution=RULES), nano, tmp_path / "cut", source=records, batch_size=1)
    assert again.read_bytes() == whole.read_bytes()


def test_another_helper_in_the_same_folder_is_another_judge(tmp_path, nano):
    import torch

    from vitrail.models.testbeds import dual

    clip = tmp_path / "clip"
    model = dual.nano()
    model.save(clip)
    made = task(constitution=RULES, clip=str(clip), relevance=-1)
    once = {"folder": tmp_path / "out", "source": source(record(0))}
    path = run_task(made, nano, **once)
    assert len(read_answers(path).header["fingerprints"]["helpers"]) == 64
    assert (
        "helpers"
        not in read_answers(
            run_task(task(constitution=RULES), nano, tmp_path / "none", source=source(record(0)))
        ).header["fingerprints"]
    )
    assert run_task(made, nano, **once) == path
    with torch.no_grad():
        next(model.model.parameters()).add_(1.0)
    shutil.rmtree(clip)
    model.save(clip)
    with pytest.raises(ValueError, match="answers given under another helpers"):
        run_task(made, nano, **once)


def test_a_recipe_names_it(tmp_path):
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    data = {
        "kind": "composed",
        "benchmark": "offline_rules",
        "fold": "test",
        "n": 2,
        "settings": {"suite": "nano-scenes-v1"},
    }
    judged = {
        "name": "clue",
        "constitution": str(tmp_path / "rules.json"),
        "detector": "given",
        "contrasts": ["prior"],
    }
    given = {
        "name": "x",
        "model": {"testbed": "nano"},
        "data": {"asked": data},
        "stages": [{"name": "tune", "data": "asked", "trains": ["connector"], "max_steps": 1}],
        "evaluation": [{"name": "judged", "data": "asked", "inferencer": judged}],
    }
    whole = plain(load(given))
    assert whole["evaluation"][0]["inferencer"]["constitution"] == RULES and plain(load(whole)) == whole
    judged["constitution"] = ["No dogs."]
    with pytest.raises(ValueError, match="rule 'rule-1' has no clauses"):
        load(given)
    judged |= {"constitution": RULES, "contrasts": ["removal"]}
    with pytest.raises(ValueError, match="contrasts has removal alone"):
        load(given)
