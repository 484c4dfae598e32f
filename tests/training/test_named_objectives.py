"""Several objectives of a stage, as a recipe names them."""

import pytest

import distilling  # noqa: F401  (registers objectives with a teacher)
from vitrail.objectives.next_token import NextToken
from vitrail.objectives.objective import Sum
from vitrail.recipes.loading import dump, load, plain
from vitrail.recipes.objectives import build_objective


def recipe(objective):
    base = plain(load("nano"))
    return {**base, "stages": [{**base["stages"][-1], "objective": objective}]}


def test_one_name_or_mapping_stays_as_it_was():
    for given in ("next_token", {"name": "next_token"}):
        found = load(recipe(given))
        assert plain(found)["stages"][0]["objective"] == {
            "name": "next_token",
            "label_smoothing": 0.0,
            "z_loss": 0.0,
        }
        assert [one.factor for one in found.stages[0].objectives] == [1.0]


def test_a_list_has_weights_and_survives_a_round_trip(nano):
    found = load(recipe(["next_token", {"name": "word_alignment", "weight": 0.5, "norm": 0.2}]))
    assert load(plain(found)) == found and load(yaml_of(found)) == found
    one, two = found.stages[0].objectives
    assert (one.name, one.factor, two.name, two.factor) == ("next_token", 1.0, "word_alignment", 0.5)
    assert two.config.norm == 0.2 and "weight" not in two.settings
    built = build_objective(found.stages[0], nano)
    assert isinstance(built, Sum) and built.weights == [1.0, 0.5]
    assert built.terms == ("next_token", "words", "pairs", "norm") and not built.decomposes
    assert isinstance(build_objective(load(recipe("next_token")).stages[0], nano), NextToken)


def yaml_of(found):
    import yaml

    return yaml.safe_load(dump(found))


def test_fields_of_a_list_can_be_overridden():
    base = recipe(["next_token", {"name": "word_alignment", "weight": 0.5}])
    name = base["stages"][0]["name"]
    found = load(base, {f"stages.{name}.objective.word_alignment.weight": 0.25})
    assert found.stages[0].objectives[1].factor == 0.25


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            [{"name": "next_token", "weight": -1}],
            r"objective\.0\.weight: must be greater than or equal to 0 \(got -1\)",
        ),
        ([{"name": "next_token", "weight": float("nan")}], r"objective\.0\.weight"),
        (["next_tokn"], r"objective\.0\.name: no objective has this name; did you mean 'next_token'"),
        (
            [{"name": "next_token", "z_los": 1}],
            r"objective\.0\.z_los: there is no such field; did you mean 'z_loss'",
        ),
        (["next_token", "next_token"], r"objective\.1: the objective 'next_token' is named twice"),
        ([], r"objective: names no objective"),
        ([{"name": "next_token", "weight": 0}], r"objective: every objective has weight 0"),
        ({"name": "next_token", "weight": 2}, r"objective\.weight: there is no such field"),
        (3, r"objective: must be a mapping"),
    ],
)
def test_what_is_refused_when_the_recipe_is_read(objective, message):
    with pytest.raises(ValueError, match=message):
        load(recipe(objective))


def test_the_schema_for_editors_knows_both_forms():
    from vitrail.recipes.schema import json_schema

    field = json_schema()["$defs"]["StageConfig"]["properties"]["objective"]
    assert any(form.get("type") == "array" for form in field["anyOf"])
    (kd,) = {
        str(sorted(form["properties"]["teacher"]))
        for found in json_schema()["$defs"].values()
        for form in found.get("anyOf", ())
        if form.get("title") == "llava_kd"
    }
    assert kd == "['anyOf']"
