"""A recipe's model made by arithmetic: models by recipe are trained once, weights are added."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from checkpoints import tensors
from vitrail.recipes import trained
from vitrail.recipes.loading import load, plain
from vitrail.recipes.plan import plan
from vitrail.recipes.run import run
from vitrail.studies import instruct_residual, lem
from vitrail.studies.declaring import study
from vitrail.training.progress import QuietProgress


def recipe(model, steps=2, rate=1e-3, form="texts", **fields):
    data = {"texts": {"kind": "facts", "form": form, "n": 16, "people": 4}}
    stage = {"name": "read", "data": "texts", "trains": "all", "learning_rate": rate, "batch_size": 8}
    stages = [{**stage, "max_steps": steps}] if steps else []
    return load({"name": "mine", "model": model, "data": data, "stages": stages, **fields})


LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Folders of a base and of what two steps of chats made of it."""
    root = tmp_path_factory.mktemp("versions")
    base = run(
        recipe({"language": {"config": LLAMA, "tokenizer": "nano_pretrained"}}), root / "base", report=False
    )
    tuned = run(recipe(str(base.model), form="chats"), root / "tuned", report=False)
    return base.model, tuned.model


def equal(one, other):
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_added_at_the_start_it_is_the_tuned_model_and_made_once(versions, tmp_path):
    base, tuned = map(str, versions)
    made = recipe({"path": base, "deltas": [{"plus": tuned, "minus": base}]}, steps=0)
    assert load(plain(made)) == made
    place = trained.resolved(made.model, QuietProgress()).path
    assert equal(versions[1], _folder(place)) and trained.resolved(made.model).path == place
    result = run(made, tmp_path / "run", report=False)
    assert equal(versions[1], result.model)


def _folder(place):
    from pathlib import Path

    return Path(place)


def test_added_at_the_end_it_moves_what_was_trained(versions, tmp_path):
    base, tuned = map(str, versions)
    plainly = run(recipe(base), tmp_path / "plain", report=False)
    deltas = [{"plus": tuned, "minus": base, "scale": 0.5, "when": "end"}]
    made = recipe({"path": base, "deltas": deltas})
    result = run(made, tmp_path / "run", report=False)
    now, was, a, b = (tensors(one) for one in (result.model, plainly.model, versions[0], versions[1]))
    for name, value in now.items():
        wanted = was[name].double() + 0.5 * (b[name].double() - a[name].double())
        assert torch.equal(value, wanted.to(value.dtype)), name
    final = [load_file(one.folder / "stages/read/final.safetensors") for one in (plainly, result)]
    assert all(torch.equal(value, final[1][name]) for name, value in final[0].items())
    assert not (result.model.parent / "model-before-sum").exists()
    assert result.load().model.config.vitrail_weights["added"][0]["scale"] == 0.5
    again = run(made, tmp_path / "run", report=False)
    assert again.stages == result.stages
    assert plan(made, measure_speed=False).parameters == plan(recipe(base), measure_speed=False).parameters


def test_a_model_by_recipe_is_trained_once(tmp_path):
    inner = plain(recipe({"language": {"config": LLAMA, "tokenizer": "nano_pretrained"}}))
    made = recipe({"recipe": inner, "lora": {"r": 2}}, steps=0)
    assert plan(made, measure_speed=False).parameters > plan(load(inner), measure_speed=False).parameters
    outer = recipe({"recipe": inner}, steps=1)
    result = run(outer, tmp_path / "run", report=False)
    folder = trained.folder_of(trained.recipe_of(inner), "model")
    assert (folder / "model" / "config.json").exists() and result.model.exists()
    begun = (folder / "starts.jsonl").read_text()
    assert run(load(outer, {"seed": 3}), tmp_path / "other", report=False).model.exists()
    assert (folder / "starts.jsonl").read_text() == begun
    with pytest.raises(ValueError, match="has no stages"):
        trained.resolved(recipe({"recipe": {**inner, "stages": []}}).model)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"testbed": "nano", "deltas": [{"saved": "x"}]}, "weights are added to a ready model"),
        ({"path": "x", "recipe": "nano"}, "brings its own; remove one of the two"),
        ({"path": "x", "deltas": [{"plus": "y"}]}, "needs plus and minus, or saved"),
        ({"path": "x", "deltas": [{"saved": "y", "only": "z"}]}, "has its own 'only'"),
        ({"path": "x", "deltas": [{"saved": "y", "scale": 0}]}, "scale is 0"),
        ({"path": "x", "deltas": [{"plus": {"path": "y", "recipe": "z"}, "minus": "w"}]}, "here is both"),
    ],
)
def test_what_does_not_go_together_is_refused(model, why):
    with pytest.raises(ValueError, match=why):
        recipe(model)


def test_paths_that_begin_with_a_dot_are_those_of_the_file(tmp_path):
    import yaml

    deltas = [{"plus": "./tuned", "minus": {"path": "../base"}}, {"saved": "hub/name"}]
    made = {"name": "mine", "model": {"path": "./start", "deltas": deltas}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(made))
    read = load(tmp_path / "mine.yaml").model
    assert read.deltas[0].plus.path == str(tmp_path / "tuned") and read.deltas[1].saved == "hub/name"
    assert read.deltas[0].minus.path == str(tmp_path / "../base")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "model": {"recipe": "./other.yaml"}}))
    assert load(tmp_path / "mine.yaml").model.recipe == str(tmp_path / "other.yaml")


def test_a_difference_that_does_not_fit_stops_the_run_before_it_trains(versions, tmp_path):
    base, tuned = map(str, versions)
    other = run(
        recipe({"language": {"config": {**LLAMA, "num_hidden_layers": 1}, "tokenizer": "nano_pretrained"}}),
        tmp_path / "other",
        report=False,
    )
    made = recipe({"path": str(other.model), "deltas": [{"plus": tuned, "minus": base, "when": "end"}]})
    with pytest.raises(ValueError, match=r"model\.deltas: .* tensors are in one of"):
        run(made, tmp_path / "run", report=False)
    assert not (tmp_path / "run" / "stages").exists()


def test_the_arms_of_the_studies_differ_in_what_they_say():
    design = study("instruct_residual").design("nano")
    (method,) = design.methods
    assert method.recipe["model"]["deltas"][0]["when"] == "end"
    assert not design.control.recipe["model"].get("deltas")
    assert design.control.recipe["stages"] == method.recipe["stages"]
    inner = method.recipe["model"]["recipe"]
    assert design.control.recipe["model"]["recipe"]["model"]["recipe"] == inner == instruct_residual.base()
    mock = study("instruct_residual").design("nano", mock=True)
    short = mock.methods[0].recipe["model"]
    assert short["recipe"]["stages"][0]["max_steps"] == 2
    assert short["deltas"][0]["plus"]["recipe"]["model"]["recipe"]["stages"][0]["max_steps"] == 2
    other = study("lem").design("nano")
    assert [stage["objective"]["name"] for stage in other.methods[0].recipe["stages"]] == ["lem", "lem"]
    assert [stage["objective"]["name"] for stage in other.control.recipe["stages"]] == ["masked", "masked"]
    assert other.control.recipe["model"]["recipe"] == lem.general()
