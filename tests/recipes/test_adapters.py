"""Where adapters go, what folding them in changes, and that PEFT reads what was kept."""

import json

import pytest
import torch
from torch import nn

import families
from conftest import chat
from vitrail.inference.inputs import model_inputs
from vitrail.models import anatomy
from vitrail.models.loading import load
from vitrail.recipes.adapters import (
    add_lora,
    fingerprints,
    merge_lora,
    pattern_of,
    save_adapter,
    target_layers,
)
from vitrail.recipes.schema import Lora

each_family = pytest.mark.parametrize("name", families.MULTIMODAL)


def learn(model, std=0.1):
    """Adapters as if trained."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=std)


@each_family
def test_only_the_decoders_blocks_get_adapters(name):
    model = families.build(name)
    layers = target_layers(model, Lora())
    inside = {id(module) for module in anatomy.part(model, "language.layers").modules()}
    assert layers == [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]
    assert len(layers) == 3 * 7
    few = target_layers(model, Lora(targets=("q_proj", "v_proj")))
    assert few == [path for path in layers if path.endswith(("q_proj", "v_proj"))]
    assert isinstance(pattern_of(layers, [path for path, _ in model.named_modules()]), str)


@each_family
def test_the_tower_and_the_connector_by_name(name):
    model = families.build(name)
    tower = target_layers(model, Lora(where=("tower",)))
    inside = {id(module) for module in anatomy.part(model, "tower.blocks").modules()}
    assert tower and all(id(model.get_submodule(path)) in inside for path in tower)
    assert not set(tower) & set(target_layers(model, Lora()))
    if name == "gemma3":
        with pytest.raises(ValueError, match="the connector has no linear layer"):
            target_layers(model, Lora(where=("connector",)))
    else:
        connector = target_layers(model, Lora(where=("connector",)))
        assert connector and not set(connector) & {*tower, *target_layers(model, Lora())}


def test_a_part_or_a_layer_that_is_not_there():
    model = families.build("llava")
    with pytest.raises(
        ValueError, match=r"model.lora.where: this model has no part 'towr'; did you mean 'tower'"
    ):
        add_lora(model, Lora(where=("towr",)))
    with pytest.raises(ValueError, match=r"model.lora.targets: the language has no linear layer 'fc1'"):
        add_lora(model, Lora(targets=("fc1",)))
    assert target_layers(model, Lora(where=("tower.blocks[-1:]",), targets=("fc1",))) == [
        "model.vision_tower.encoder.layers.1.mlp.fc1"
    ]


@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}, {"where": ("tower", "language")}])
def test_folded_in_it_says_the_same_and_nothing_else_changed(options):
    model = families.build("llava")
    layers = add_lora(model, Lora(r=2, alpha=4, **options))
    before = fingerprints(model)
    learn(model)
    inputs = {
        "input_ids": torch.tensor([[1, 10, *[families.IMAGE] * 16, 5, 6]]),
        "attention_mask": torch.ones(1, 20, dtype=torch.long),
        "pixel_values": torch.randn(1, 3, 16, 16),
    }
    with torch.inference_mode():
        said = model(**inputs).logits
    merged = merge_lora(model)
    with torch.inference_mode():
        assert torch.allclose(model(**inputs).logits, said, atol=1e-4, rtol=1e-3)
    after = fingerprints(model)
    assert {name for name in after if after[name] != before[name]} == {f"{layer}.weight" for layer in layers}
    assert set(merged.changed) == set(merged.targeted) == {f"{layer}.weight" for layer in layers}
    assert not hasattr(model, "peft_config") and not any("lora" in name for name in model.state_dict())


def test_what_cannot_be_folded_in_is_said():
    with pytest.raises(ValueError, match="no adapters to fold in"):
        merge_lora(families.build("llava"))
    model = families.build("llava")
    add_lora(model, Lora(r=2))
    with pytest.raises(ValueError, match="all 21 adapters are zero"):
        merge_lora(model)
    model = families.build("llava").to(torch.bfloat16)
    add_lora(model, Lora(r=2))
    learn(model, std=1e-6)
    with pytest.raises(ValueError, match=r"21 of 21 targeted tensors did not change .* model.dtype: float32"):
        merge_lora(model)


def test_a_layer_that_shares_its_weight_is_not_changed_behind_ones_back():
    model = families.build("llava")
    attention = model.model.language_model.layers
    attention[1].self_attn.q_proj.weight = attention[0].self_attn.q_proj.weight
    layers = add_lora(model, Lora(r=2, where=("language.layers[0]",)))
    assert all(".layers.0." in layer for layer in layers)
    learn(model)
    with pytest.raises(
        ValueError, match=r"changed 1 tensors that were not targeted .*layers.1.self_attn.q_proj"
    ):
        merge_lora(model)


def test_an_adapter_without_a_gradient_is_counted_apart():
    model = families.build("llava")
    add_lora(model, Lora(r=2))
    learn(model)
    with torch.no_grad():
        model.model.language_model.layers[2].mlp.up_proj.lora_B["default"].weight.zero_()
    merged = merge_lora(model)
    assert merged.idle == ("model.language_model.layers.2.mlp.up_proj.weight",)
    assert len(merged.changed) == 20 and "1 adapters had learnt nothing" in merged.sentence()


@pytest.mark.parametrize("options", [{}, {"dora": True, "rslora": True}, {"where": ("tower", "language")}])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "smolvlm", "internvl"])
def test_peft_reads_what_was_kept(name, options, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    base = families.save_family(name, tmp_path / "base")
    bundle, lora = load(base), Lora(r=2, alpha=8, **options)
    add_lora(bundle.model, lora)
    learn(bundle.model, 0.05)
    save_adapter(bundle.model, lora, str(base), tmp_path / "adapter")
    batch = bundle.collator()([bundle.encoder.encode(chat("what is this?", "a cat", seed=3))])
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), tmp_path / "adapter")
    inputs = model_inputs(bundle.model, batch)
    with torch.inference_mode():
        assert torch.equal(plain.eval()(**inputs).logits, bundle.model(**inputs).logits)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base) and isinstance(config["target_modules"], str)
