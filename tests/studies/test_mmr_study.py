"""The study of leading turns: two arms that differ in their turns alone, and the rates that stand beside them."""

from __future__ import annotations

import pytest

from vitrail.recipes.loading import load, plain
from vitrail.recipes.sources import open_data
from vitrail.studies import mmr
from vitrail.studies.declaring import study
from vitrail.studies.house import EVALUATION, house


@pytest.fixture(scope="module")
def design():
    return study("mmr").design("nano")


def test_arms_differ_in_their_turns_alone(design):
    control, leading = (load(arm.recipe) for arm in design.arms)
    assert (control.data["scenes"].leading, leading.data["scenes"].leading) == (0.0, 0.5)
    assert control.stages == leading.stages and control.model == leading.model
    assert control.data[EVALUATION] == leading.data[EVALUATION] and control.data[EVALUATION].form == "leading"
    same = {**control.data["scenes"].model_dump(), "leading": 0.5}
    assert same == leading.data["scenes"].model_dump(), "as many pictures and turns"
    assert [stage.data for stage in leading.stages] == ["aligned", "scenes"]
    assert leading.data["aligned"] == load(house()).data["scenes"]
    assert {arm.probe for arm in design.arms} == {mmr.PROBE}


def test_only_leading_questions_are_asked(design):
    recipe = load(design.control.recipe, {f"data.{EVALUATION}.n": 4})
    asked = open_data(recipe, EVALUATION, "questions")
    assert len(asked) == 4 and {record.meta["groups"]["member"] for record in asked} == {"NEG"}


def test_rates_of_a_model(nano, design):
    class Run:
        @staticmethod
        def recipe():
            return plain(load(design.control.recipe, {f"data.{EVALUATION}.n": 6}))

    found = mmr.rates(Run, nano)
    assert set(found) == {"RA", "MR", "plain"} and 0 <= found["RA"] <= found["plain"] <= 1
