"""Anatomy: parts by name, and parameters counted once."""

from __future__ import annotations

import pytest
import transformers as T

import families
from vitrail.models import anatomy
from vitrail.models.testbeds import nano as nano_testbed
from vitrail.training.selection import select_parameters


def test_parts_of_our_model(fresh_nano):
    model = fresh_nano.model
    found = anatomy.parts(model)
    assert found["tower"] is model.tower and found["connector"] is model.connector
    assert found["language"] is model.language and len(found["language.layers"]) == 2
    assert found["language.embeddings"].weight is found["language.head"].weight
    model.requires_grad_(False)
    model.connector.requires_grad_(True)
    rows = anatomy.counts(model)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    assert {row.name: row.trained for row in rows} == {
        "tower": 0,
        "connector": sum(p.numel() for p in model.connector.parameters()),
        "language": 0,
    }


def test_parts_through_peft():
    from peft import LoraConfig, get_peft_model

    bundle = nano_testbed.build()
    adapted = get_peft_model(bundle.model, LoraConfig(r=2, target_modules=r"language\..*q_proj"))
    assert anatomy.part(adapted, "connector") is bundle.model.connector


def test_parts_of_a_llava_and_of_a_plain_language_model():
    llava, _ = families.llava()
    assert anatomy.part(llava, "connector") is llava.model.multi_modal_projector
    assert anatomy.part(llava, "language.layers") is llava.model.language_model.layers
    plain = anatomy.parts(families.llama())
    assert "tower" not in plain and "language.layers" in plain


def test_a_wrong_name_gets_the_nearest_right_one(nano):
    with pytest.raises(ValueError, match="no part 'conector'; did you mean 'connector'"):
        anatomy.part(nano.model, "conector")


BERT = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
ENCODERS = {
    "bert": lambda: T.BertForMaskedLM(T.BertConfig(**BERT)),
    "bert alone": lambda: T.BertModel(T.BertConfig(**BERT)),
    "bert classifier": lambda: T.BertForSequenceClassification(T.BertConfig(**BERT)),
    "xlm-r": lambda: T.XLMRobertaForMaskedLM(T.XLMRobertaConfig(**BERT)),
    "xlm-r alone": lambda: T.XLMRobertaModel(T.XLMRobertaConfig(**BERT)),
    "modernbert": lambda: T.ModernBertForMaskedLM(T.ModernBertConfig(**BERT, **IDS)),
    "modernbert alone": lambda: T.ModernBertModel(T.ModernBertConfig(**BERT, **IDS)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_parts_of_encoders(name):
    model = ENCODERS[name]()
    found = anatomy.parts(model)
    assert found["language.embeddings"] is model.base_model.embeddings
    assert len(found["language.layers"]) == 3
    assert ("language.head" in found) == ("alone" not in name)
    if "alone" not in name:
        assert found["language"] is model.base_model
    assert all_counted(model)
    assert {row.name for row in anatomy.counts(model)} <= {"language", "rest"}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_parts_of_dual_encoders(kind):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    settings = {
        "text_config": {**sizes, "vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        "vision_config": {**sizes, "image_size": 16, "patch_size": 8},
    }
    model = {"clip": T.CLIPModel, "siglip": T.SiglipModel}[kind](
        {"clip": T.CLIPConfig, "siglip": T.SiglipConfig}[kind](**settings)
    )
    found = anatomy.parts(model)
    for part, module in (("vision", model.vision_model), ("text", model.text_model)):
        assert {id(p) for p in module.parameters()} <= {id(p) for p in found[part].parameters()}
    assert len(found["vision.blocks"]) == len(found["text.layers"]) == 2
    assert {"vision.embeddings", "text.embeddings", "vision.projection", "text.projection"} <= set(found)
    assert any(p is model.logit_scale for p in found["temperature"].parameters())
    assert all_counted(model) and "rest" not in {row.name for row in anatomy.counts(model)}


def all_counted(model):
    return sum(row.parameters for row in anatomy.counts(model)) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_parts_of_every_family(name):
    model = families.build(name)
    found = anatomy.parts(model)
    assert {"tower", "tower.blocks", "connector", "language", "language.layers", "language.head"} <= set(
        found
    )
    assert len(found["tower.blocks"]) == 2 and len(found["language.layers"]) == 3
    rows = anatomy.counts(model)
    assert all_counted(model) and [row.name for row in rows] == ["tower", "connector", "language"]
    own = {part: {id(p) for p in found[part].parameters()} for part in ("tower", "connector", "language")}
    assert not own["tower"] & own["connector"] and not own["connector"] & own["language"]
    blocks = {id(p) for p in found["tower.blocks"].parameters()}
    assert blocks and blocks <= own["tower"]


def test_slices_of_blocks():
    model = families.build("internvl")
    blocks = anatomy.parts(model)["tower.blocks"]
    assert list(anatomy.part(model, "tower.blocks[-1:]")) == [blocks[1]]
    assert anatomy.part(model, "vision.blocks[0]") is blocks[0]
    assert anatomy.part(model, "vision") is anatomy.parts(model)["tower"]
    assert len(anatomy.part(model, "language.layers[:2]")) == 2
    assert anatomy.part(model, "language.layers[1].mlp") is model.get_decoder().layers[1].mlp
    with pytest.raises(ValueError, match=r"tower\.blocks has 2 blocks, 0 to 1"):
        anatomy.part(model, "tower.blocks[2]")
    with pytest.raises(ValueError, match="holds no block"):
        anatomy.part(model, "tower.blocks[5:]")
    with pytest.raises(ValueError, match=r"no part 'tower.blockz\[0\]'"):
        anatomy.part(model, "tower.blockz[0]")


def test_what_trains_may_be_a_slice():
    model = families.build("qwen3_vl")
    chosen = select_parameters(model, ["connector", "vision.blocks[-1:]", "language.layers[0]"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(chosen.parameters)
    places = (
        "model.visual.blocks.1.",
        "model.visual.merger.",
        "model.visual.deepstack_merger_list.",
        "model.language_model.layers.0.",
    )
    assert all(any(name.startswith(place) for name in trained) for place in places)
    assert all(name.startswith(places) for name in trained)
    with pytest.raises(ValueError, match=r"trains names 'vision\.blockz\[0\]', which this model has not"):
        select_parameters(model, ["vision.blockz[0]"])


def test_tower_alone_leaves_the_connector_inside_it():
    model = families.build("qwen2_vl")
    select_parameters(model, ["tower"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("model.visual.") and "merger" not in name for name in trained)
