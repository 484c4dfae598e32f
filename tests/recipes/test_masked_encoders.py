"""Recipes of masked encoders: two stages from random weights or a folder, measured by retrieval of translations."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import encoders
from vitrail.models.loading import load as load_model
from vitrail.recipes.loading import load
from vitrail.recipes.plan import plan
from vitrail.recipes.run import run

TINY = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def recipe(model=None, lem=True, **fields):
    objective = {"name": "lem", "budget": 0.3} if lem else "masked"
    shared = {"trains": "all", "objective": objective, "batch_size": 8, "max_steps": 4, "learning_rate": 1e-3}
    return load(
        {
            "name": "encoder",
            "model": model or {"language": {"config": TINY, "tokenizer": "nano_multilingual"}},
            "data": {
                "mono": {"kind": "translations", "form": "sentences", "n": 24},
                "para": {"kind": "translations", "n": 24},
                "held": {"kind": "translations", "n": 12, "fold": "test"},
            },
            "stages": [
                {"name": "mono", "data": "mono", **shared},
                {"name": "para", "data": "para", **shared},
            ],
            "evaluation": [{"name": "retrieval", "data": "held", "inferencer": "translation"}],
            **fields,
        }
    )


def test_two_stages_and_retrieval(tmp_path):
    made = recipe()
    result = run(made, tmp_path / "run", report=False)
    assert {name: stage["step"] for name, stage in result.stages.items()} == {"mono": 4, "para": 4}
    found = result.scores["retrieval"]
    assert set(found) == {"trained", "untrained"} and found["trained"]["n"] == 24
    assert found["trained"]["chance"] == pytest.approx(1 / 12)
    assert set(found["trained"]["by_kind"]) == {"english to arun", "arun to english"}
    bundle = load_model(tmp_path / "run")
    assert bundle.family.kind == "encoder" and bundle.embed(["Ada opens the door"]).shape == (1, 32)
    # The same again from the start, and stage two begins with the weights of stage one.
    again = run(made, tmp_path / "again", report=False)
    for stage in ("mono", "para"):
        one, two = (load_file(r.folder / "stages" / stage / "final.safetensors") for r in (result, again))
        assert all(torch.equal(value, two[name]) for name, value in one.items())
    alone = run(
        recipe(stages=[{**_plain(made)[1], "max_steps": 4}], evaluation=[]), tmp_path / "alone", report=False
    )
    first, other = (load_file(r.folder / "stages" / "para" / "final.safetensors") for r in (result, alone))
    assert any(not torch.equal(value, other[name]) for name, value in first.items())
    planned = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert planned["parameters"] == sum(p.numel() for p in bundle.model.parameters())


def _plain(made):
    from vitrail.recipes.loading import plain

    return plain(made)["stages"]


@pytest.mark.parametrize("kind", encoders.KINDS)
def test_an_encoder_on_disk_goes_on(kind, tmp_path):
    folder = encoders.save(kind, tmp_path / kind)
    made = recipe(str(folder), lem=kind != "bert")
    result = run(made, tmp_path / "run", report=False)
    before, after = load_model(folder).model, load_model(tmp_path / "run").model
    assert type(before) is type(after)
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert result.scores["retrieval"]["trained"]["n"] == 24


def test_a_batch_divided_is_the_same_step(tmp_path):
    whole = recipe(evaluation=[])
    first = {**_plain(whole)[0], "precision": "float32"}
    one = run(recipe(stages=[first], evaluation=[]), tmp_path / "one", report=False)
    divided = {**first, "batch_size": 2, "accumulation": 4}
    two = run(recipe(stages=[divided], evaluation=[]), tmp_path / "two", report=False)
    assert one.stages["mono"]["loss"] == pytest.approx(two.stages["mono"]["loss"], rel=1e-4)


def test_texts_and_annotated_files_train_too(tmp_path):
    (tmp_path / "a.conllu").write_text(encoders.CONLLU, encoding="utf-8")
    data = {"mine": {"kind": "file", "path": str(tmp_path / "a.conllu")}}
    stage = {"name": "read", "data": "mine", "trains": "all", "max_steps": 2, "batch_size": 2}
    made = recipe(data=data, stages=[{**stage, "objective": "lem"}], evaluation=[])
    assert run(made, tmp_path / "run", report=False).stages["read"]["step"] == 2
    (tmp_path / "b.txt").write_text("Ada opens the door\nBoris waits\n")
    data = {"mine": {"kind": "file", "path": str(tmp_path / "b.txt")}}
    lexicon = {"name": "lem", "tagger": {"name": "lexicon", "words": {"NE": ["ada"]}}}
    made = recipe(data=data, stages=[{**stage, "objective": lexicon}], evaluation=[])
    assert run(made, tmp_path / "lexicon", report=False).stages["read"]["step"] == 2
    lexicon["tagger"]["words"] = {"NE": ["nobody"]}
    made = recipe(data=data, stages=[{**stage, "objective": lexicon}], evaluation=[])
    with pytest.raises(ValueError, match="finds no entity in any text"):
        run(made, tmp_path / "nobody", report=False)
    made = recipe(data=data, stages=[{**stage, "objective": "lem"}], evaluation=[])
    with pytest.raises(ValueError, match=r"record 0: the data has no annotation"):
        run(made, tmp_path / "bare", report=False)


def test_a_plan_says_what_an_encoder_takes():
    found = plan(recipe(), measure_speed=False)
    assert [stage.objective for stage in found.stages] == ["lem", "lem"]
    assert found.peak_bytes > 16 * found.parameters and found.stages[0].flops_a_step > 0
    assert found.evaluation[0].questions == 24


def test_an_encoder_and_a_chat_do_not_go_together(tmp_path):
    with pytest.raises(ValueError, match="no causal language model or masked encoder"):
        recipe({"language": {"config": {**TINY, "model_type": "berd"}, "tokenizer": "nano_multilingual"}})
    data = {"mine": {"kind": "puzzle", "task": "addition", "skill": 0, "n": 8}}
    stage = {"name": "read", "data": "mine", "trains": "all", "max_steps": 2, "objective": "masked"}
    with pytest.raises(ValueError, match="reads texts and translations, and this is a chat"):
        run(recipe(data=data, stages=[stage], evaluation=[]), tmp_path / "run", report=False)
