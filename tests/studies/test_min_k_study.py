"""The study of Min-K %: one recipe on both sides, members that were read, non-members that were not."""

from __future__ import annotations

import pytest

from vitrail.models.documents import text_of
from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data
from vitrail.studies import min_k
from vitrail.studies.declaring import study
from vitrail.studies.design import Figure


@pytest.fixture(scope="module")
def design():
    return study("min_k").design("nano")


def test_arms_differ_in_the_score_alone(design):
    assert design.control.recipe == design.methods[0].recipe
    assert design.control.probe != design.methods[0].probe
    read = {arm.recipe["data"]["texts"]["n"] for arm in design.context}
    assert read == {400, 800, 1600} and design.control.recipe["data"]["texts"]["n"] == 200
    assert design.of({"score": 1.0, "probe": {"auc": 0.7}}) == 0.7
    assert design.fixed()["figure"] == ["probe.auc", 1, 0.5]


def test_members_are_those_of_the_stage(design):
    recipe = load(design.control.recipe, {"data.texts.n": 6})
    texts, labels = min_k.members_and_others(recipe.model_dump(mode="json"))
    source = open_data(recipe, "texts", "conversations")
    read = {" ".join(text_of(one).split()) for one in (source[index] for index in range(6))}
    for text, label in zip(texts, labels, strict=True):
        assert len(text.split()) == min_k.WORDS and any(one.startswith(text) for one in read) == bool(label)


def test_figures_of_a_model(nano, design):
    class Run:
        @staticmethod
        def recipe():
            return load(design.control.recipe, {"data.texts.n": 8}).model_dump(mode="json")

    found = min_k.min_20(Run, nano)
    assert found["auc"] == found["Min-20 %"] and 0 <= found["bag of words"] <= 1
    assert min_k.perplexity(Run, nano)["auc"] == found["perplexity"]


def test_a_figure_needs_lengths_that_were_fixed(design):
    from dataclasses import replace

    with pytest.raises(ValueError, match="needs seeds, pairs 0"):
        replace(design, figure=Figure("x", "probe.x"), pairs=3)
