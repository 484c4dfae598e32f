"""From an arm to a cell: what is drawn anew, what is asked, and what a mock reads."""

import pytest

from vitrail.recipes.loading import load, plain
from vitrail.recipes.sources import open_data
from vitrail.studies.arms import Arm
from vitrail.studies.declaring import MOCK_RECORDS, few_records
from vitrail.studies.setting_up import TWIN, asks_anew, cell


@pytest.fixture(scope="module")
def recipe():
    texts = {"kind": "scene_texts", "suite": "nano-scenes-v1", "n": 40}
    sums = {"kind": "puzzle", "task": "addition", "skill": 0, "n": 30}
    return plain(
        load(
            {
                "name": "mixed",
                "model": {"testbed": "nano"},
                "data": {
                    "texts": texts,
                    "sums": sums,
                    "part": {"kind": "subset", "source": "texts", "share": 0.5},
                    "all": {"kind": "mixture", "sources": {"part": 1, "sums": 1}, "n": 50},
                    "texts-held": {**texts, "fold": "development"},
                    "sums-held": {**sums, "fold": "development", "seed": 5},
                    "fresh": {**sums, "fold": "development"},
                    "held": {"kind": "mixture", "sources": ["texts-held", "fresh"]},
                },
                "stages": [{"name": "tune", "data": "all", "trains": ["language"], "max_steps": 9}],
                "evaluation": [{"name": "held", "data": "held", "inferencer": "reference", "metric": "loss"}],
            }
        )
    )


def cell_of(recipe, **settings):
    return load(dict(cell(Arm("a", recipe), "primary", evaluation="held", **settings).recipe))


def test_all_that_is_made_by_rules_is_drawn_anew_through_mixtures_and_subsets(recipe):
    found = cell_of(recipe, draw=3)
    assert found.data["texts"].seed == found.data["sums"].seed == 3
    assert found.data["texts-held"].seed is None and found.data["sums-held"].seed == 5
    twin = cell_of(recipe, draw=3, seed=3 + TWIN)
    assert twin.seed == 3 + TWIN and twin.data["texts"].seed == 3


def test_a_mixture_of_questions_asks_the_fold_of_each_of_its_sources(recipe):
    found = cell_of(recipe, draw=3, fold="test", questions=12)
    assert found.evaluation[0].data == "asked"
    assert list(found.data["asked"].sources) == ["asked-texts-held", "asked-fresh"]
    for name in found.data["asked"].sources:
        assert (found.data[name].fold, found.data[name].seed, found.data[name].n) == ("test", 3, 6)
    assert len(open_data(found, "asked", "questions")) == 12
    assert {
        one.fold for one in cell_of(recipe, draw=3, fold="development").data.values() if hasattr(one, "fold")
    } == {
        "train",
        "development",
    }


def test_questions_are_fresh_or_the_same_but_not_both(recipe):
    data = recipe["data"]
    assert asks_anew(data, "held") and asks_anew(data, "texts-held") and not asks_anew(data, "sums-held")
    both = {**data, "both": {"kind": "mixture", "sources": {"sums-held": 1, "fresh": 1}}}
    with pytest.raises(ValueError, match="some of its sources are the same for all seeds"):
        asks_anew(both, "both")


def test_a_mock_reads_few_records_of_every_kind(recipe):
    data = {**recipe["data"], "own": {"kind": "file", "path": "x.jsonl"}}
    few = few_records(data)
    assert few["texts"] == few["sums"] == few["own"] == few["all"] == MOCK_RECORDS
    assert "part" not in few and "held" not in few


def test_factors_scale_the_rates_that_are_tuned(recipe):
    twice = {**recipe, "stages": [{**recipe["stages"][0], "name": one} for one in ("first", "then")]}
    rate = recipe["stages"][0]["learning_rate"]
    for tuned, rates in ((None, [3 * rate, 3 * rate]), (("then",), [rate, 3 * rate])):
        found = cell(Arm("a", twice, tuned=tuned), "tuning", evaluation="held", draw=3, factor=3.0).recipe
        assert [stage["learning_rate"] for stage in found["stages"]] == pytest.approx(rates)
    with pytest.raises(ValueError, match="no stage 'late' to tune; there are first, then"):
        Arm("a", twice, tuned=("late",))
