"""Benchmarks as a recipe's data: composed ones are asked and trained on, others are asked."""

import pytest

from vitrail.evaluation.benchmarks.offline import SUITE
from vitrail.recipes.loading import load, plain
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.sources import open_data


def recipe(**settings):
    one = {"kind": "composed", "benchmark": "offline_quality", "n": 6, **settings}
    one["settings"] = {"suite": "nano-scenes-v1", **one.get("settings", {})}
    return {
        "name": "x",
        "seed": 3,
        "model": {"testbed": "nano"},
        "data": {"one": one},
        "stages": [{"name": "tune", "data": "one", "trains": ["connector"], "max_steps": 1}],
    }


def records(use="questions", **settings):
    return list(open_data(load(recipe(**settings)), "one", use))


def test_questions_of_some_kinds_in_turn():
    found = records(settings={"kinds": ["what", "how"]})
    assert [one.meta["kind"] for one in found] == ["what", "how"] * 3
    assert {one.meta["fold"] for one in found} == {"train"} and {one.meta["seed"] for one in found} == {3}
    assert all(one.choices is not None for one in found)


def test_folds_and_seeds_have_questions_of_their_own():
    folds = [records(fold=fold) for fold in ("train", "development", "test")]
    pictures = {one.images[0].bytes for fold in folds for one in fold}
    assert len(pictures) == 18
    assert {one.images[0].bytes for one in records(seed=4)}.isdisjoint(pictures)


def test_a_stage_and_an_evaluation_read_the_same_records():
    assert records("conversations") == records("questions")


def test_a_recipe_is_written_whole_and_read_again():
    whole = plain(load(recipe(settings={"kinds": ["what"]})))
    assert plain(load(whole)) == whole


KINDS = {
    "offline_scenes": ("colour",),
    "offline_sequences": ("ends",),
    "offline_differences": ("moved",),
    "offline_leading": ("what",),
    "offline_presence": ("random",),
    "offline_needles": ("needle",),
    "offline_quality": ("how",),
    "offline_text_rich": ("map",),
}


@pytest.mark.parametrize("name", [name for name in SUITE if name != "offline_assessment"])
def test_every_composed_benchmark_has_kinds(name):
    own = {"side": 48} if name == "offline_text_rich" else {"suite": "nano-scenes-v1"}
    given = {**recipe(benchmark=name, n=4), "data": {}}
    given["data"]["one"] = {
        "kind": "composed",
        "benchmark": name,
        "n": 4,
        "settings": {**own, "kinds": KINDS[name]},
    }
    found = list(open_data(load(given), "one", "conversations"))
    assert {one.meta["kind"] for one in found} == set(KINDS[name])
    given["data"]["one"]["settings"]["kinds"] = ["smell"]
    with pytest.raises(ValueError, match=r"data\.one: .*smell"):
        open_data(load(given), "one", "conversations")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"benchmark": "seed_bench"}, "files of its own"),
        ({"benchmark": "offline_qualities"}, "offline_quality"),
        ({"settings": {"seed": 1}}, "beside 'settings'"),
    ],
)
def test_what_is_refused_when_a_recipe_is_read(settings, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe(**settings))


def test_what_is_refused_when_data_is_opened():
    with pytest.raises(ValueError, match=r"data\.one: .*no suite is called"):
        records(settings={"suite": "nano-scenes-v2"})
    with pytest.raises(ValueError, match="a rated picture is asked one thing"):
        records(benchmark="offline_assessment", settings={"kinds": ["what"]})


def test_a_benchmark_of_files_is_not_trained_on():
    given = recipe()
    given["data"]["one"] = {"kind": "benchmark", "benchmark": "seed_bench", "path": "."}
    with pytest.raises(RecipeError, match="asked, not trained on"):
        load(given)
