import json

import pytest
import torch

from conftest import chat
from vitrail.models import anatomy
from vitrail.recipes import assembly, shapes
from vitrail.recipes.adapters import merge_lora
from vitrail.recipes.schema import Lora, Model


def numbers(model):
    return [(row.name, row.kind, row.parameters) for row in anatomy.counts(model)]


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
def test_shapes_alone_count_as_the_real_model(lora):
    model = Model(testbed="nano", connector={"name": "mlp", "pool": 3}, lora=lora)
    real, empty = assembly.build(model).model, shapes.on_meta(model)
    assert numbers(empty) == numbers(real)
    assert all(parameter.is_meta for parameter in empty.parameters())


def test_a_saved_model_by_path(nano, tmp_path):
    nano.save(tmp_path / "run" / "model")
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        assert numbers(shapes.on_meta(Model(path=str(path)))) == numbers(nano.model)
        assert assembly.build(Model(path=str(path))).model.config.model_type == "vitrail"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no config"):
        shapes.on_meta(Model(path=str(tmp_path / "empty")))


def test_parts_by_path(nano, tmp_path):
    nano.model.language.save_pretrained(tmp_path / "language")
    nano.tokenizer.save_pretrained(tmp_path / "language")
    tower = {"name": "huggingface", **nano.model.tower.config.model_dump()}
    model = Model(tower=tower, connector="mlp", language=str(tmp_path / "language"))
    built = assembly.build(model, seed=3)
    assert torch.equal(built.model.language.lm_head.weight, nano.model.language.lm_head.weight)
    again = assembly.build(model, seed=3).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in built.model.state_dict().items())
    assert built.encoder.encode(chat("what?", "a cat")).labelled > 0


def test_same_seed_same_weights():
    model = Model(testbed="nano", lora=Lora())
    first, second, other = (assembly.build(model, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_lora_stays_inside_the_decoder_and_folds_in():
    bundle = assembly.build(Model(testbed="nano", lora=Lora(r=2, alpha=8)))
    names = [name for name, _ in bundle.model.named_parameters() if "lora_" in name]
    assert names and all(name.startswith("language.model.layers") for name in names)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in bundle.model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    batch = bundle.collator()([bundle.encoder.encode(chat("what?", "a cat"))])
    before = bundle.model(**batch).logits
    plain = assembly.build(Model(testbed="nano")).model
    assert (plain(**batch).logits - before).abs().max() > 1e-3
    assert len(merge_lora(bundle.model).changed) == 14  # seven linear layers in each of two blocks
    assert set(bundle.model.state_dict()) == set(plain.state_dict())
    assert torch.allclose(bundle.model(**batch).logits, before, atol=1e-5)


def test_lora_targets_are_checked():
    with pytest.raises(ValueError, match="did you mean 'q_proj'"):
        assembly.build(Model(testbed="nano", lora=Lora(targets=("q_prj",))))


@pytest.mark.long
def test_small_from_constants_equals_the_fetched_configuration(shared_cache):
    from vitrail.models.testbeds import small

    config = json.loads((small.fetch()[0] / "config.json").read_text())
    assert {name: config[name] for name in shapes.SMOLLM2_135M} == shapes.SMOLLM2_135M
    model = Model(testbed="small")
    assert numbers(shapes.on_meta(model)) == numbers(assembly.build(model).model)
