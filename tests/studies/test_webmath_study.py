"""The study of mathematical web pages: equal tokens, and what the classifiers choose."""

import pytest

from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data
from vitrail.recipes.subsets import said
from vitrail.studies import webmath
from vitrail.studies.declaring import study


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def design():
    return study("webmath").design("nano")


def test_arms_differ_in_what_the_continued_stage_reads(design):
    base = design.control.recipe
    for arm in design.arms:
        assert arm.recipe["stages"][0] == base["stages"][0]
        assert {**arm.recipe["stages"][1], "data": None} == {**base["stages"][1], "data": None}
    assert not design.same_data and webmath.SHARE < webmath.RECALL


def test_the_second_classifier_is_more_precise_than_the_first(design):
    few = {
        "data.pages.n": 60, "data.counts.n": 8, "data.chains.n": 20,
        "data.wanted.n": 40, "data.other.n": 40, "data.near.n": 40,
    }  # fmt: skip
    recipe = load(load(dict(design.methods[0].recipe)), few)
    wanted = {said(record) for record in open_data(recipe, "counts", "conversations")}
    shares = {}
    for name in ("web", "recalled", "read"):
        found = [said(record) for record in open_data(recipe, name, "conversations")]
        shares[name] = sum(len(text.split()) for text in found if text in wanted) / sum(
            len(t.split()) for t in found
        )
    assert shares["web"] < shares["recalled"] < shares["read"]
