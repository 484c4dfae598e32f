import json

import pytest

from vitrail.recipes.loading import load
from vitrail.recipes.problems import RecipeError
from vitrail.recipes.training_run import trained_model
from vitrail.storage.runs import RunFolder
from vitrail.training.probing import read_probes
from vitrail.training.progress import QuietProgress

INFINITE = {"name": "infinite", "cooldown": 2}


def stage(name, data, **changes):
    settings = {
        "name": name,
        "data": data,
        "trains": ["connector"],
        "batch_size": 4,
        "max_steps": 4,
        "warmup": 1,
    }
    return {"learning_rate": 3e-3, "precision": "float32", "schedule": INFINITE, **settings, **changes}


def scenes(kind):
    return {"kind": "scenes", "suite": "nano-scenes-v1", "kinds": [kind], "n": 12, "turns": [1, 1]}


def recipe(*stages):
    return {
        "name": "continual",
        "model": {"testbed": "nano"},
        "data": {"old": scenes("what"), "new": scenes("where")},
        "stages": list(stages),
    }


def trained(made, folder):
    with RunFolder(folder).writing({}, lambda stored: stored) as opened:
        bundle = trained_model(load(made), opened, QuietProgress(), "cpu")
    return {name: value.clone() for name, value in bundle.model.state_dict().items()}


def test_a_continual_run_with_a_branch_ends_as_one_without(tmp_path):
    probes = {"data": ["old", "new"], "every": 2, "records": 4}
    old, new = stage("old", "old", probes=probes), stage("new", "new", continues="old", probes=probes)
    branch = stage("branch", "old", continues="old", schedule={**INFINITE, "anneal": 2}, max_steps=2)
    plain = trained(recipe(old, new), tmp_path / "plain")
    branched = trained(recipe(old, branch, new), tmp_path / "branched")
    assert all((value == branched[name]).all() for name, value in plain.items())
    stages = tmp_path / "branched" / "stages"
    rows = read_probes(stages / "new")
    assert [row["step"] for row in rows] == [0, 2, 4] and rows[0]["old"] == read_probes(stages / "old")[-1][
        "old"
    ]
    rates = [
        json.loads(line)["learning_rate"]
        for line in (stages / "new" / "metrics.jsonl").read_text().splitlines()
    ]
    assert rates == [pytest.approx(0.55 * 3e-3)] * 4
    assert not list(stages.glob("*/state")) and (stages / "branch" / "final.safetensors").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"continues": "older"}, r"stages\.1\.continues: no earlier stage has this name; did you mean 'old'"),
        ({"continues": "new"}, "no earlier stage has this name"),
        ({"trains": ["connector", "language"]}, "it trains other parts than 'old'"),
        (
            {"learning_rate": 1e-3},
            r"stages\.1\.learning_rate: the optimizer goes on from 'old', where this is 0.003",
        ),
        ({"schedule": {**INFINITE, "constant": 0.9}}, "has other settings; give the same ones"),
        ({"probes": {"data": ["odl"], "every": 2}}, r"probes\.data: 'data' has no source of this name"),
    ],
)
def test_what_does_not_go_on_is_refused_when_the_recipe_is_read(changes, message):
    with pytest.raises(RecipeError, match=message):
        load(recipe(stage("old", "old"), stage("new", "new", **{"continues": "old", **changes})))


def test_nothing_goes_on_from_annealing_nor_over_a_stage_that_trains_other_parts():
    annealed = stage("old", "old", schedule={**INFINITE, "anneal": 1})
    with pytest.raises(RecipeError, match="'old' ends with annealing"):
        load(recipe(annealed, stage("new", "new", continues="old")))
    between = stage("between", "new", trains=["language"], schedule="cosine")
    with pytest.raises(RecipeError, match="the stage 'between' in between trains other parts"):
        load(recipe(stage("old", "old"), between, stage("new", "new", continues="old")))
