"""What the studies of places begin with has described pictures, and was asked nothing of what they ask."""

import pytest

from vitrail.recipes.loading import load, plain
from vitrail.recipes.sources import open_data
from vitrail.studies.declaring import study
from vitrail.studies.describing import WORLD, described, describer

BEHIND = ("mmneedle",)


def test_it_describes_pictures_of_its_own():
    made = load(describer())
    records = open_data(made, "shown", "conversations")
    kinds = {kind for index in range(20) for kind in records[index].meta["kinds"]}
    assert kinds == {"caption", "what"} and records[0].meta["fold"] == "train"
    assert made.data["shown"].seed == WORLD > 100_000, "no draw of a study sees these pictures"


def test_a_study_goes_on_from_there():
    made = described()
    assert [stage["name"] for stage in made["stages"]] == ["tune"] and made["model"]["recipe"] == describer()
    assert plain(load(made)) == made


@pytest.mark.parametrize("name", BEHIND)
def test_all_arms_begin_with_the_same_model(name):
    design = study(name).design("nano")
    assert all(arm.recipe["model"]["recipe"] == describer() for arm in design.arms)
    small = study(name).design("nano", mock=True)
    for arm in small.arms:
        begun = arm.recipe["model"]["recipe"]
        assert all(stage["max_steps"] == 2 for stage in begun["stages"])
