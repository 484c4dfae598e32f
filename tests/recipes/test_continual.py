"""Datasets one after the other: the stages that they become, and what a run over them kept."""

import json

import pytest

from vitrail.cli.main import main
from vitrail.recipes import loading
from vitrail.recipes.continual import continual, kept
from vitrail.storage.log import JsonlLog
from vitrail.storage.runs import RunFolder

INFINITE = {"name": "infinite", "cooldown": 0.5}


@pytest.fixture(scope="module")
def base():
    texts = {"kind": "scene_texts", "suite": "nano-scenes-v1", "n": 32}
    held = {name: {**texts, "fold": "development", "n": 8} for name in ("a-held", "b-held")}
    data = {"a": texts, "b": {**texts, "names": "helpers"}, "c": texts, **held}
    stage = {"name": "read", "data": "a", "trains": ["all"], "max_steps": 8, "batch_size": 4}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    language = {"config": {"model_type": "llama", **sizes}, "tokenizer": "nano_pretrained"}
    return {
        "name": "one",
        "model": {"language": language},
        "data": data,
        "stages": [{**stage, "schedule": INFINITE}],
    }


def test_each_dataset_goes_on_from_the_one_before_and_the_last_anneals(base):
    made = continual(base, ["a", "b", "c"], anneal=0.25)
    stages = made["stages"]
    assert [(stage["name"], stage["data"], stage.get("continues")) for stage in stages] == [
        ("a", "a", None),
        ("b", "b", "a"),
        ("c", "c", "b"),
    ]
    assert [stage["schedule"].get("anneal", 0) for stage in stages] == [0, 0, 0.25]
    assert all(stage["max_steps"] == 8 for stage in stages) and loading.load(made)
    one = continual(base, ["a"], anneal=0.25)
    assert len(one["stages"]) == 1 and one["stages"][0]["max_steps"] == 8


def test_branches_anneal_aside_and_replay_is_an_equal_share_of_what_was_before(base):
    made = continual(base, ["a", "b", "c"], replay=0.1, anneal=2, branch_steps=3)
    stages = {stage["name"]: stage for stage in made["stages"]}
    assert list(stages) == ["a", "a-annealed", "b", "b-annealed", "c"]
    assert stages["b-annealed"]["continues"] == "b" and stages["b-annealed"]["max_steps"] == 3
    assert stages["b-annealed"]["schedule"]["anneal"] == 3 and stages["c"]["continues"] == "b"
    assert stages["a"]["data"] == "a"
    assert made["data"][stages["c"]["data"]]["sources"] == {"c": 0.9, "a": 0.05, "b": 0.05}


@pytest.mark.parametrize(
    ("datasets", "settings", "message"),
    [
        (["a", "d"], {}, "no source called 'd'"),
        (["a", "a"], {}, "'a' is named twice"),
        ([], {}, "no dataset is named"),
        (["a", "b"], {"replay": 1.0}, "replay is 1"),
        (["a", "b"], {"schedule": {"name": "repeated_cosine"}, "anneal": 0.5}, "anneal has no effect"),
    ],
)
def test_what_does_not_fit(base, datasets, settings, message):
    with pytest.raises(ValueError, match=message):
        continual(base, datasets, **settings)


def probed(folder, stage, *rows):
    place = RunFolder(folder).stage(stage)
    place.mkdir(parents=True)
    log = JsonlLog(place / "probes.jsonl")
    for step, a, b in rows:
        log.append({"step": step, "a-held": {"loss": a, "right": 0}, "b-held": {"loss": b, "right": 0}})
    log.close()


def test_what_was_kept_is_read_off_the_probes(tmp_path):
    probed(tmp_path, "a", (0, 3.0, 3.0), (10, 1.0, 2.5))
    probed(tmp_path, "b", (0, 1.0, 2.5), (2, 1.4, 2.0), (10, 1.2, 1.0))
    found = kept(RunFolder(tmp_path), ["a", "b"], ["a-held", "b-held"])
    assert found["matrix"] == [[1.0, 2.5], [1.2, 1.0]] and found["final"] == pytest.approx(1.1)
    assert found["forgetting"] == pytest.approx(0.2) and found["jump"] == pytest.approx(0.4)
    probed(tmp_path, "a-annealed", (0, 1.0, 2.5), (4, 0.9, 2.4))
    assert kept(RunFolder(tmp_path), ["a", "b"], ["a-held", "b-held"])["matrix"][0] == [0.9, 2.4]
    with pytest.raises(ValueError, match="no probes of the stage 'c'"):
        kept(RunFolder(tmp_path), ["a", "c"], ["a-held", "b-held"])


def test_from_the_command_line_to_a_run_and_its_figures(base, tmp_path, capsys):
    words = ["--schedule", "infinite", "--anneal", "2", "--replay", "0.25", "--branch-steps", "2"]
    words += ["--probe", "a-held", "b-held", "--every", "2"]
    from vitrail.recipes.yaml_text import dump

    (tmp_path / "one.yaml").write_text(dump({**base, "stages": [{**base["stages"][0], "max_steps": 4}]}))
    assert main(["recipe", "continual", str(tmp_path / "one.yaml"), "a", "b", *words]) == 0
    (tmp_path / "two.yaml").write_text(capsys.readouterr().out)
    assert main(["train", str(tmp_path / "two.yaml"), "--run", str(tmp_path / "run"), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["forgetting", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["datasets"] == ["a", "b"] and len(found["matrix"]) == 2
    branch = JsonlLog(tmp_path / "run" / "stages" / "a-annealed" / "probes.jsonl").read()[-1]
    assert found["matrix"][0] == [branch["a-held"]["loss"], branch["b-held"]["loss"]]
    assert main(["forgetting", str(tmp_path / "run")]) == 0
    assert "forgetting" in capsys.readouterr().out
