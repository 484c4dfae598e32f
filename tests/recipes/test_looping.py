"""Recipes with a loop, from the file to the model: what is repeated, what is equal, what goes on after a kill."""

import json

import pytest
import torch
from safetensors.torch import load_file

from vitrail.evaluation.best_of import BestOf
from vitrail.evaluation.instructions import Prompt
from vitrail.loops.rounds import Round
from vitrail.models.loading import load
from vitrail.recipes import loading
from vitrail.recipes.looping import divided, forecast, rounds_of, rounds_table
from vitrail.recipes.run import run
from vitrail.storage.runs import RecipeDiffers, RunFolder
from vitrail.studies.measuring import costs

SUITE = {"kind": "scenes", "suite": "nano-scenes-v1"}
STAGE = {"trains": ["connector"], "batch_size": 4, "max_steps": 2, "warmup": 0, "schedule": "constant"}


def grown(**loop):
    """A recipe whose data grow."""
    return {
        "name": "grown",
        "model": {"testbed": "nano", "connector": "mlp"},
        "data": {
            "captions": {**SUITE, "n": 4, "turns": [1, 1], "kinds": ["caption"], "seed": 7},
            "seeds": {**SUITE, "n": 6, "kinds": ["what", "count"]},
            "asked": {**SUITE, "fold": "test", "n": 4, "kinds": ["what"]},
        },
        "stages": [
            {"name": "align", "data": "captions", **STAGE, "max_steps": 1},
            {"name": "tune", "data": "seeds", **STAGE},
        ],
        "loop": {
            "name": "llm2llm", "data": "seeds", "rounds": 2, "teacher": "scenes", "items": 4, "max_new_tokens": 3,
            "every_round": False, **loop,
        },
        "evaluation": [{"name": "asked", "data": "asked", "conditions": ["trained"]}],
        "report": {"gallery": 0},
    }  # fmt: skip


def aligned(model, trains, **loop):
    """A recipe of preferences among the model's own samples."""
    return {
        "name": "aligned",
        "model": model,
        "data": {"prompts": {**SUITE, "n": 3, "turns": [1, 1], "kinds": ["caption"]}},
        "stages": [{"name": "dpo", "data": "prompts", "objective": "dpo", "learning_rate": 1e-2, **STAGE,
                    "trains": trains, "batch_size": 2}],
        "loop": {
            "name": "rlaif_v", "rounds": 2, "candidates": 4, "max_new_tokens": 6, "splitter": "rules",
            "labeller": {"name": "scene_truth", "accuracy": 0.5}, "judging": "whole", "balance": False,
            "temperature": 1.5, **loop,
        },
    }  # fmt: skip


def weights(folder):
    return load_file(next((folder).glob("*.safetensors")))


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops") / "whole"
    return run(loading.load(grown()), folder, device="cpu", report=False)


def test_every_round_trains_on_what_grew_and_the_last_one_is_kept(finished):
    place = RunFolder(finished.folder)
    rounds = rounds_of(place)
    assert [one["records"] for one in rounds] == [6, 10] and rounds[0]["made"] == 4
    last = place.path / "rounds/01/run"
    assert equal(weights(place.model_path), weights(last / "model"))
    assert load(place.model_path).model is not None and "asked" in finished.scores
    plan = json.loads((last / "stages/tune/plan.json").read_text())
    assert plan["records"] == 10 and finished.stages["tune"]["plan"]["records"] == 10
    spent = costs(place, loading.plain(finished.recipe))
    assert spent["steps"] == 1 + 2 * 2 and spent["samples"] == 4 + 8 * 2
    columns, rows = rounds_table(rounds)
    assert columns[0] == "round" and [row[0] for row in rows] == [1, 2]


def test_rounds_begin_with_equal_weights(tmp_path):
    made = grown(share_start=True)
    made["stages"][1]["learning_rate"], made["evaluation"] = 0.0, []
    run(loading.load(made), tmp_path / "run", device="cpu", report=False)
    rounds = RunFolder(tmp_path / "run").path / "rounds"
    first, second = (weights(rounds / name / "run/model") for name in ("00", "01"))
    assert equal(first, second)
    # The shared beginning told its costs, and left its weights in the cache.
    assert (rounds / "start/run/stages/align/done.json").exists() and not (
        rounds / "start/run/model"
    ).exists()


def test_a_killed_loop_goes_on_to_equal_results(finished, tmp_path, monkeypatch):
    once = Round.once

    def dies(self, name, make):
        if name == "made":
            raise KeyboardInterrupt
        return once(self, name, make)

    recipe = loading.load(grown())
    monkeypatch.setattr(Round, "once", dies)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", device="cpu", report=False)
    monkeypatch.setattr(Round, "once", once)
    again = run(recipe, tmp_path / "run", device="cpu", report=False)
    for name in ("rounds/00/answers.jsonl", "rounds/00/made.jsonl", "rounds/01/data.jsonl"):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes()
    assert equal(weights(again.model), weights(finished.model))
    with pytest.raises(RecipeDiffers, match=r"loop\.items"):
        run(loading.load(grown(items=5)), tmp_path / "run", device="cpu", report=False)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_other_families_learn_from_their_own_samples(family, saved_family, tmp_path):
    path = str(saved_family(family))
    run(loading.load(aligned({"path": path}, ["language"])), tmp_path / "run", device="cpu", report=False)
    place = RunFolder(tmp_path / "run")
    rounds = rounds_of(place)
    assert len(rounds) == 2 and all(one["samples"] == 12 and one["pairs"] >= 1 for one in rounds)
    recipes = [RunFolder(place.path / f"rounds/0{n}/run").recipe()["model"]["path"] for n in (0, 1)]
    assert recipes[0] == path and recipes[1].endswith("rounds/00/run/model")
    assert not equal(weights(place.path / "rounds/00/run/model"), weights(place.model_path))
    assert load(place.model_path).family.kind == "multimodal"


def test_the_best_of_several_samples_is_that_of_the_highest_reward(nano, fresh_nano, tmp_path):
    from conftest import chat

    fresh_nano.save(tmp_path / "before")
    torch.manual_seed(3)
    for parameter in fresh_nano.model.language.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    inferencer = BestOf(
        BestOf.Config(reference=str(tmp_path / "before"), n=4, max_new_tokens=4, temperature=1.5)
    )
    asked = [inferencer.encode(fresh_nano, Prompt(chat("What?", seed=n)), None) for n in range(2)]
    found = inferencer.ask(fresh_nano, asked, 4)
    assert found == inferencer.ask(fresh_nano, asked, 1)
    lone = BestOf(BestOf.Config(reference=str(tmp_path / "before"), n=2, max_new_tokens=4, temperature=1.5))
    fewer = lone.ask(fresh_nano, asked, 4)
    # Of four samples the best is at least as good as of the first two of them.
    assert all(one["reward"] >= few["reward"] for one, few in zip(found, fewer, strict=True))
    assert len({one["text"] for one in found}) == 2


def test_what_is_tested_is_not_trained_on(tmp_path):
    made = grown()
    rows = [{"id": str(n), "messages": [{"role": "user", "content": f"Say {n}."},
             {"role": "assistant", "content": str(n)}]} for n in range(4)]  # fmt: skip
    for name, part in (("seeds", rows[:3]), ("asked", rows[2:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)))
        made["data"][name] = {"kind": "file", "path": str(tmp_path / f"{name}.jsonl")}
    made["evaluation"][0] |= {"inferencer": "reference", "metric": "loss"}
    with pytest.raises(ValueError, match="question 0 of evaluation 'asked' is record 2 of the loop's data"):
        run(loading.load(made), tmp_path / "run", device="cpu", report=False)


def test_what_is_repeated_and_what_will_be_asked():
    recipe = loading.load(grown())
    once, repeated = divided(recipe)
    assert [one.name for one in once] == ["align"] and [one.name for one in repeated] == ["tune"]

    class Planned:
        stages = ()

    told = forecast(recipe, Planned)
    assert told["rounds"] == 2 and told["seconds"] is None
    assert [(one["times"], one["whom"]) for one in told["asked"]] == [(6, "self"), (4, "scenes")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"loop.data": "sead"}, "'data' has no source of this name; did you mean 'seeds'"),
        ({"loop.data": "asked"}, "no stage trains on this source"),
        ({"loop.name": "llm3llm"}, "no loop has this name; did you mean 'llm2llm'"),
        ({"loop.teacher": "scene"}, "no writer has this name; did you mean 'scenes'"),
        ({"loop.round": 3}, "there is no such field; did you mean 'rounds'"),
        ({"stages.tune.continues": "align"}, "this stage is repeated by the loop"),
        ({"loop.keep": "best", "evaluation": []}, "there is no evaluation to choose by"),
    ],
)
def test_what_does_not_go_together_is_told(change, why):
    with pytest.raises(ValueError, match=why):
        loading.load(grown(), change)


def test_the_command_plans_and_refuses(tmp_path, capsys):
    from vitrail.cli.main import main

    path = tmp_path / "grown.yaml"
    path.write_text(json.dumps(grown()))
    assert main(["loop", str(path), "--plan"]) == 0
    said = capsys.readouterr().out
    assert "loop: llm2llm" in said and "align once, then 2 rounds of tune" in said and "new items" in said
    assert main(["loop", "nano"]) == 2
    assert "has no 'loop', so nothing would be repeated" in capsys.readouterr().err
