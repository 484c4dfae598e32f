"""The study of Skill-it: equal pools and steps, one graph, and losses of questions that nobody is asked."""

import pytest

from vitrail.recipes.loading import load
from vitrail.recipes.sources import open_data
from vitrail.studies import skill_it
from vitrail.studies.arms import budget
from vitrail.studies.declaring import study
from vitrail.studies.setting_up import cell


@pytest.fixture(scope="module")
def design():
    return study("skill_it").design("nano")


def test_arms_read_from_the_same_pools_for_as_many_steps_and_differ_in_the_rule(design):
    control, method = design.control.recipe, design.methods[0].recipe
    assert control["stages"] == method["stages"] and budget(control) == budget(method)
    assert {**method["data"], "skills": None} == {**control["data"], "skills": None}
    rule = method["data"]["skills"]["rule"]
    assert rule["name"] == "skill_it" and [tuple(row) for row in rule["graph"]] == list(skill_it.GRAPH)
    assert control["data"]["skills"]["rule"]["name"] == "fixed"
    turned, none = (arm.recipe["data"]["skills"]["rule"]["graph"] for arm in design.context)
    assert [list(row) for row in zip(*turned, strict=True)] == rule["graph"]
    assert sum(map(sum, none)) == len(skill_it.SKILLS)


def test_the_rounds_fill_the_stage(design):
    recipe = load(dict(design.methods[0].recipe))
    rule = recipe.data["skills"].rule.build()
    assert skill_it.STEPS % rule.every(skill_it.STEPS) == 0
    assert skill_it.STEPS // rule.every(skill_it.STEPS) == skill_it.ROUNDS


def test_what_is_followed_is_never_what_is_asked(design):
    for fold in ("development", "test"):
        made = cell(
            design.methods[0], "primary", evaluation=design.evaluation, draw=2, fold=fold, questions=30
        )
        recipe = load(dict(made.recipe))
        rule = recipe.data["skills"].rule.build()
        pictures = {"asked": set(), "seen": set()}
        for name in ("asked", *rule.evaluated(list(recipe.data["skills"].sources))):
            kept = pictures["asked" if name == "asked" else "seen"]
            kept |= {record.meta["picture"] for record in open_data(recipe, name, "questions")}
        assert len(open_data(recipe, "asked", "questions")) == 30
        assert pictures["seen"] and not pictures["asked"] & pictures["seen"]
