"""The study of TC-LLaVA: arms differ in the surgery alone, and what is asked needs the order of frames."""

import pytest

from vitrail.data.scenes.sequences import ORDER
from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data
from vitrail.recipes.trained import recipe_of
from vitrail.studies.declaring import study
from vitrail.studies.house import EVALUATION
from vitrail.studies.setting_up import TUNING_DRAW, cell
from vitrail.studies.tc_llava import ASKED, WORLD


@pytest.fixture(scope="module")
def design():
    return study("tc_llava").design("nano")


def without_surgeries(arm):
    return {**arm.recipe, "model": {**arm.recipe["model"], "surgeries": []}}


def test_arms_differ_in_the_surgery_alone(design):
    surgeries = {arm.name: arm.recipe["model"]["surgeries"] for arm in design.arms}
    assert (
        all(some[0]["name"] == "reinitialise" for some in surgeries.values())
        and len(surgeries["vanilla"]) == 1
    )
    settings = {name: some[1] for name, some in surgeries.items() if len(some) > 1}
    assert set(settings) == {"tc_llava", "positions alone", "mask alone"}
    assert all(one["name"] == "tc_llava" for one in settings.values())
    assert settings["positions alone"]["mask"] == "none" and settings["mask alone"]["rope"] is False
    base = without_surgeries(design.control)
    assert all(without_surgeries(arm) == base for arm in design.arms)
    assert [arm.name for arm in design.methods] == ["tc_llava"] and design.kind == "superiority"


def test_it_asks_about_order_on_frames_of_the_fold_that_it_says(design):
    for fold, role in (("development", "tuning"), ("test", "pair")):
        made = cell(design.control, role, evaluation=EVALUATION, draw=TUNING_DRAW, fold=fold, questions=20)
        recipe = load(made.recipe)
        source = open_data(recipe, "asked", "questions")
        assert source.fold == fold and source.seed == TUNING_DRAW and len(source) == 20
        chats = [source[index] for index in range(len(ASKED))]
        assert {chat.meta["kind"] for chat in chats} == set(ASKED) <= set(ORDER)
        assert all(len(chat.images) == source.length for chat in chats)
        stages = [open_data(recipe, stage.data, "conversations") for stage in recipe.stages]
        assert [stage.told for stage in stages] == [False, False]
        assert all(stage.fold == "train" and stage.length == source.length for stage in stages)
        assert set(stages[-1].kinds) >= set(ORDER) and stages[0].seed == stages[-1].seed == TUNING_DRAW
        before = recipe_of(recipe.model.recipe)
        told = open_data(before, "told", "conversations")
        assert told.told and told.fold == "train" and told.length == source.length and told.seed == WORLD


def test_a_mock_reads_little():
    mock = study("tc_llava").design("nano", mock=True)
    begun = mock.control.recipe["model"]["recipe"]
    assert mock.control.recipe["data"]["scenes"]["n"] <= 32 and mock.questions <= 16
    assert begun["data"]["told"]["n"] <= 32 and begun["stages"][0]["max_steps"] == 2


def test_only_sequences_have_a_length():
    recipe = {
        "name": "x",
        "model": {"testbed": "nano_pretrained", "connector": "mlp"},
        "data": {"some": {"kind": "scenes", "suite": "nano-scenes-v1", "length": 3}},
    }
    with pytest.raises(ValueError, match="only sequences have a length"):
        load(recipe)
    recipe["data"]["some"]["form"] = "sequences"
    assert open_data(load(recipe), "some", "conversations").length == 3
    recipe["data"]["some"]["form"] = "told_sequences"
    assert open_data(load(recipe), "some", "conversations").told
    with pytest.raises(ValueError, match=r"data.some: told_sequences are for stages"):
        open_data(load(recipe), "some", "questions")
    recipe["data"]["some"] |= {"length": 9, "form": "sequences"}
    with pytest.raises(ValueError, match=r"data.some: length is 9"):
        open_data(load(recipe), "some", "questions")
