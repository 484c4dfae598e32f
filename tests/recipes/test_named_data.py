"""Things with names as a recipe's data: what a stage reads, what an evaluation asks with a memory of it."""

from __future__ import annotations

import pytest

from vitrail.evaluation.answers import read_answers
from vitrail.evaluation.run import run_task
from vitrail.recipes.loading import load, plain
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.sources import open_data


def recipe(methods=(), **settings):
    things = {"kind": "named_things", "things": "nano-scenes-v1"}
    asked = {**things, "names": "held-out", "fold": "test", "n": 10, **settings}
    return {
        "name": "named",
        "seed": 3,
        "model": {"testbed": "nano"},
        "data": {"named": {**things, "n": 6}, "asked": asked},
        "stages": [{"name": "tune", "data": "named", "trains": ["connector"], "max_steps": 1}],
        "evaluation": [{"name": "asked", "data": "asked", "methods": list(methods)}],
    }


def test_a_stage_reads_entries_and_an_evaluation_none():
    made = load(recipe())
    assert plain(load(plain(made))) == plain(made)
    rows = list(open_data(made, "named", "conversations"))
    assert len(rows) == 6 and all(len(one.images) > 1 and one.choices is None for one in rows)
    asked = open_data(made, "asked", "questions")
    assert all(len(one.images) == 1 and one.choices is not None for one in asked)
    other = open_data(load({**recipe(), "seed": 4}), "asked", "questions")
    assert asked.name.endswith("/3") and asked[0] != other[0]


RAP = {"name": "rap", "memory": "data", "k": 2, "regions": "given"}


METHODS = [("rap", {name: value for name, value in RAP.items() if name != "name"})]


def asked_of(nano, folder, **settings):
    made = load(recipe([RAP], **settings))
    (one,) = made.evaluation
    source = open_data(made, "asked", "questions")
    methods = [(method.name, method.settings) for method in one.methods]
    path = run_task(one.task(), nano, folder, source=source, methods=methods)
    return source, read_answers(path).rows


def test_an_evaluation_remembers_what_its_data_tells(nano, tmp_path):
    source, rows = asked_of(nano, tmp_path / "right")
    names = {one.name for one in source.memory()}
    assert len(rows) == 10
    for row, chat in zip(rows, source, strict=True):
        found = row["methods"]["rap"]["memories"]
        text = chat.messages[0].text
        assert len(found) == 2 and {one["name"] for one in found} <= names
        named = [one["name"] for one in found if one["by"] == "name"]
        assert named == ([text.split("<")[1].split(">")[0]] if "<" in text else [])
    _, other = asked_of(nano, tmp_path / "wrong", mixed_up=True)
    assert [row["id"] for row in other] == [row["id"] for row in rows]
    assert [row["methods"] for row in other] != [row["methods"] for row in rows]


def test_data_without_names_have_nothing_to_remember(nano, tmp_path):
    made = load(
        {**recipe([RAP]), "data": {**recipe()["data"], "asked": {"kind": "scenes", "fold": "test", "n": 4}}}
    )
    source = open_data(made, "asked", "questions")
    with pytest.raises(ValueError, match="memory: data needs questions about named things"):
        run_task(made.evaluation[0].task(), nano, tmp_path, source=source, methods=METHODS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "nothing", "noise": 1}, "no noise in it"),
        ({"naming": "always"}, "naming"),
        ({"thing": "openmoji"}, "thing"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe(**settings))


def test_names_that_are_not_for_training_are_refused_by_field():
    made = load(recipe(fold="train"))
    with pytest.raises(ValueError, match=r"data\.asked: names 'held-out' are not for training"):
        open_data(made, "asked", "questions")
