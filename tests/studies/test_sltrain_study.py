"""The study of SLTrain: equal parameters, equal tokens, and a context arm whose factors stay at zero."""

import pytest
import torch

from vitrail.recipes.loading import load, plain
from vitrail.recipes.run import train
from vitrail.recipes.shapes import on_meta
from vitrail.recipes.sources import open_data
from vitrail.studies.arms import budget
from vitrail.studies.declaring import study
from vitrail.studies.own import design as own_design
from vitrail.studies.setting_up import TUNING_DRAW, cell
from vitrail.studies.sltrain import DENSITY, EVALUATION, FACTORS, RANK


@pytest.fixture(scope="module")
def design():
    return study("sltrain").design("nano")


def parameters(recipe):
    return sum(one.numel() for one in on_meta(load(recipe).model).parameters())


def test_method_and_control_have_as_many_parameters(design):
    control, method = parameters(design.control.recipe), parameters(design.methods[0].recipe)
    whole = parameters(design.context[0].recipe)
    assert abs(control - method) < 0.01 * method and method < 0.6 * whole
    assert design.control.recipe["model"]["language"]["config"]["hidden_size"] == RANK * 4
    assert 0 < DENSITY < 0.05


def test_arms_read_the_same_texts_and_differ_in_the_surgery_alone(design):
    base = design.context[0].recipe
    assert base["model"].get("surgeries") == []
    for arm in (design.control, *design.methods):
        assert {**arm.recipe, "model": {**arm.recipe["model"], "surgeries": []}} == base
        assert [one["name"] for one in arm.recipe["model"]["surgeries"]] in (["low_rank"], ["sltrain"])
    assert all(budget(arm.recipe) == budget(base) for arm in design.arms)


def test_every_seed_has_texts_of_its_own_of_the_fold_that_it_says(design):
    cells = {
        (fold, draw): cell(design.control, "primary", evaluation=EVALUATION, draw=draw, fold=fold)
        for fold in ("development", "test")
        for draw in (1, TUNING_DRAW)
    }
    asked, read = set(), set()
    for (fold, draw), one in cells.items():
        recipe = load(dict(one.recipe))
        source = open_data(recipe, "asked", "questions")
        texts = open_data(recipe, "texts", "conversations")
        assert (source.fold, source.seed) == (fold, draw) and (texts.fold, texts.seed) == ("train", draw)
        asked.add(source[0].content)
        read.add(texts[0].content)
    assert len(asked) == 4 and len(read) == 2


def test_sparse_alone_trains_no_factor(design, tmp_path):
    arm = next(arm for arm in design.context if arm.name == "sparse alone")
    few = {
        "data.texts.n": 8,
        "data.development.n": 4,
        "stages.read.max_steps": 4,
        "stages.read.batch_size": 4,
    }
    recipe = load(load(dict(arm.recipe)), {**few, "evaluation": []})
    model = train(recipe, run_folder=tmp_path / "run").load().model
    state = model.state_dict()
    factors = [value for name, value in state.items() if name.endswith(".B")]
    assert factors and not any(value.any() for value in factors)
    moved = load(load(dict(design.methods[0].recipe)), {**few, "evaluation": []})
    other = train(moved, run_folder=tmp_path / "other").load().model.state_dict()
    assert any(value.any() for name, value in other.items() if name.endswith(".B"))
    fresh = [name for name in state if name.endswith(".values") and not torch.equal(state[name], other[name])]
    assert fresh and recipe.stages[0].learning_rate[FACTORS] == 0


def test_the_catalogue_compares_it_on_a_model_from_random_weights():
    base = plain(load("pretrain-text"))
    made = own_design(base, ["+sltrain"])
    assert made.methods[0].recipe["model"]["surgeries"][0]["name"] == "sltrain"
    assert made.control.recipe["model"]["surgeries"][0]["name"] == "low_rank"
    assert made.delta == 0.02 and made.evaluation == "development"
    assert abs(parameters(made.control.recipe) - parameters(made.methods[0].recipe)) < 3000
