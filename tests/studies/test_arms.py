"""Arms: methods applied to recipes, and equal budgets."""

import pytest

from vitrail.recipes.loading import load, plain
from vitrail.studies.arms import Arm, budget, changed, require_equal_budgets


@pytest.fixture(scope="module")
def base():
    return plain(load("nano"))


def test_a_method_sets_and_adds(base):
    change = {
        "set": {"model.connector": {"name": "mlp", "pool": 3}, "stages.tune.trains": ["connector"]},
        "add": {"data.scenes.kinds": ["count"], "stages.tune.report_to": ["tensorboard"]},
    }
    found = changed(base, change)
    assert found["model"]["connector"]["pool"] == 3 and found["stages"][0]["trains"] == ["connector"]
    assert found["data"]["scenes"]["kinds"] == ["count"]
    twice = changed(found, {"add": {"data.scenes.kinds": ["where"]}})
    assert twice["data"]["scenes"]["kinds"] == ["count", "where"]
    assert "kinds" not in base["data"]["scenes"] and base["stages"][0]["trains"] == ["connector", "language"]


def test_the_last_stage_has_a_number(base):
    rates = {"connector": 1e-3, "language": 2e-3}
    apart = changed(base, {"set": {"stages.-1.learning_rate": rates}})
    found = changed(apart, {"add": {"stages.-1.trains": ["tower"]}})["stages"][0]
    assert found["trains"] == ["connector", "language", "tower"]
    assert found["learning_rate"] == {**rates, "tower": 2e-3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": {"model.conector": 1}}, r"\+x does not fit the recipe 'nano'.*conector"),
        ({"add": {"model.testbed": ["a"]}}, r"model.testbed is 'nano', no list"),
        ({"sets": {}}, "has 'sets'; known are set, add"),
    ],
)
def test_a_change_that_does_not_fit(base, change, message):
    with pytest.raises(ValueError, match=message):
        changed(base, change, "+x")


def test_every_combination_of_a_grid(base):
    arm = Arm("a", base, grid={"seed": (1, 2), "stages.tune.batch_size": (4, 8)})
    assert len(arm.settings()) == 4 and {"seed": 2, "stages.tune.batch_size": 4} in arm.settings()
    assert Arm("b", base).settings() == [{}]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stages.tune.max_steps", 24, "max_steps of stage 'tune' is 24 for more and 12 for base"),
        ("stages.tune.batch_size", 16, "records a step of stage 'tune' is 16 for more and 8 for base"),
        ("data.scenes.n", 128, "data of stage 'tune'"),
    ],
)
def test_unequal_budgets_are_refused(base, field, value, message):
    more = changed(base, {"set": {field: value}})
    with pytest.raises(ValueError, match=message):
        require_equal_budgets([Arm("base", base), Arm("more", more)])


def test_accumulation_counts_as_batch(base):
    split = changed(base, {"set": {"stages.tune.batch_size": 4, "stages.tune.accumulation": 2}})
    require_equal_budgets([Arm("base", base), Arm("split", split)])
    assert budget(split) == budget(base)


def test_another_stage_is_refused(base):
    longer = changed(base, {"add": {"stages": [{"name": "more", "data": "scenes", "max_steps": 1}]}})
    with pytest.raises(ValueError, match="longer has the stages tune, more, and base has tune"):
        require_equal_budgets([Arm("base", base), Arm("longer", longer)])


def mixed(base, **mixture):
    data = {**base["data"], "more": {**base["data"]["scenes"], "n": 7}}
    data["all"] = {"kind": "mixture", "sources": {"scenes": 1, "more": 1}, **mixture}
    return changed({**base, "data": data}, {"set": {"stages.tune.data": "all"}})


def test_a_mixture_s_budget_is_what_it_draws_from_whatever_the_shares(base):
    even = mixed(base)
    other = mixed(base, sources={"more": 0.9, "scenes": 0.1})
    require_equal_budgets([Arm("even", even), Arm("other", other)])
    fewer = mixed(base, sources={"scenes": 1.0})
    with pytest.raises(ValueError, match="data of stage 'tune'"):
        require_equal_budgets([Arm("even", even), Arm("fewer", fewer)])
    require_equal_budgets([Arm("even", even), Arm("fewer", fewer)], same_data=False)
    data = {**even["data"], "part": {"kind": "subset", "source": "all", "share": 0.5}}
    part = changed({**even, "data": data}, {"set": {"stages.tune.data": "part"}})
    require_equal_budgets([Arm("even", even), Arm("part", part)])
    with pytest.raises(ValueError, match="max_steps of stage 'tune'"):
        require_equal_budgets(
            [Arm("even", even), Arm("longer", changed(even, {"set": {"stages.tune.max_steps": 24}}))], False
        )
