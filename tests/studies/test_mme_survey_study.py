"""The study of flawed test sets: the same models under three versions, and how well each tells their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vitrail.recipes.loading import load, plain
from vitrail.studies import mme_survey
from vitrail.studies.declaring import study
from vitrail.studies.house import EVALUATION


@pytest.fixture(scope="module")
def design():
    return study("mme_survey").design("nano")


def test_the_versions_are_asked_of_the_same_models(design):
    assert [arm.name for arm in design.arms] == list(mme_survey.VERSIONS)
    assert all(arm.recipe == design.control.recipe for arm in design.methods)
    assert len({arm.probe for arm in design.arms}) == 2
    recipe = load(design.control.recipe)
    assert [stage.name for stage in recipe.stages][2:] == list(mme_survey.TRAINED)
    passes = np.cumsum([stage.epochs for stage in recipe.stages[2:]])
    assert passes.tolist() == [1, 2, 4] and {stage.data for stage in recipe.stages[2:]} == {"all"}
    flawless = {"probe": {"tau": 1.0}}, {"probe": {"tau": 0.25}}
    assert design.of(flawless[1]) - design.of(flawless[0]) == 0.75, "what a flaw loses is above zero"


def test_the_order_is_kendalls_over_draws_of_questions():
    rng = np.random.default_rng(1)
    right = rng.random((3, 30)) < np.array([[0.4], [0.55], [0.7]])
    tau, whole = mme_survey.recovered(right.tolist(), seed=3, draws=200)
    weights = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), size=200)
    taus, wholes = [], []
    for draw in weights:
        scores = [sum(count * hit for count, hit in zip(draw, one, strict=True)) for one in right]
        pairs = [np.sign(scores[b] - scores[a]) for a, b in itertools.combinations(range(3), 2)]
        taus.append(sum(pairs) / 3)
        wholes.append(scores[0] < scores[1] < scores[2])
    assert tau == pytest.approx(np.mean(taus)) and whole == pytest.approx(np.mean(wholes))
    assert 0 < whole < 1 and whole <= tau <= 1
    assert mme_survey.recovered([[True] * 9] * 3, seed=0) == (0.0, 0.0), "nothing tells equal models apart"
    assert mme_survey.recovered([[False] * 9, [True] * 8 + [False], [True] * 9], seed=0)[0] > 0.6
    assert mme_survey.recovered([[True] * 9, [False] * 9], seed=0) == (-1.0, 0.0)


def test_figures_of_a_run(nano, design, monkeypatch):
    """The nano model in the place of all three: nothing is in order, and the audits see the flaws."""
    from vitrail.recipes import stage_model

    monkeypatch.setattr(stage_model, "model_after", lambda run, stage: nano)
    asked = {**design.control.recipe["data"][EVALUATION], "n": 9, "seed": 5}

    class Run:
        @staticmethod
        def recipe():
            recipe = plain(load(design.control.recipe))
            return {**recipe, "data": {**recipe["data"], "asked": asked}}

    found = {name: getattr(mme_survey, name)(Run, nano) for name in mme_survey.VERSIONS}
    for one in found.values():
        assert one["tau"] == one["order"] == 0 and one["once"] == one["four_times"]
        assert -1 <= one["blind gap"] <= 1
    assert found["clean"]["answer balance"] == found["leaking"]["answer balance"] > 0.5
