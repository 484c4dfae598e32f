"""Families of somebody else's are told in a few lines; unknown ones are refused with what would have to be told."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch
import transformers as T

import families
import family_files
from conftest import chat
from vitrail import registry
from vitrail.inference.generation import GenerationSettings, generate
from vitrail.inference.inputs import model_inputs
from vitrail.models import anatomy
from vitrail.models.families.family import Family
from vitrail.models.families.llava import LLAVA
from vitrail.models.families.table import family_of
from vitrail.models.loading import load


class KinConfig(T.LlavaConfig):
    model_type = "kin_of_llava"


class KinForConditionalGeneration(T.LlavaForConditionalGeneration):
    config_class = KinConfig


@pytest.fixture
def kin(monkeypatch, tmp_path):
    """A folder with a tiny LLaVA under another name, whose family is told as a package would tell it."""
    T.AutoConfig.register("kin_of_llava", KinConfig, exist_ok=True)
    T.AutoModelForImageTextToText.register(KinConfig, KinForConditionalGeneration, exist_ok=True)
    package = ModuleType("package_of_a_stranger")
    package.KIN = replace(LLAVA, model_type="kin_of_llava", about="a kin of LLaVA")
    monkeypatch.setitem(sys.modules, "package_of_a_stranger", package)
    own = family_files.tokenizer("llava")
    base = families.build(
        "llava", text={"vocab_size": family_files.TOKENS}, ids=family_files.ids("llava", own)
    )
    model = KinForConditionalGeneration(
        KinConfig(**{k: v for k, v in base.config.to_dict().items() if k != "model_type"})
    )
    model.load_state_dict(base.state_dict())
    model.save_pretrained(tmp_path / "kin")
    own.save_pretrained(tmp_path / "kin")
    family_files.image_processor("llava").save_pretrained(tmp_path / "kin")
    return tmp_path / "kin", base


def test_a_strangers_family_works_everywhere(kin, monkeypatch):
    folder, base = kin
    with pytest.raises(ValueError, match="does not know the family 'kin_of_llava'"):
        load(folder)
    monkeypatch.setattr(registry, "_BUILT_IN", dict(registry._BUILT_IN))
    registry.register("family", "kin_of_llava", "package_of_a_stranger:KIN", "a kin of LLaVA")
    try:
        bundle = load(folder)
        assert bundle.family.about == "a kin of LLaVA" and type(bundle.model) is KinForConditionalGeneration
        batch = bundle.collator()([bundle.encoder.encode(chat("what is this?", "a cat"))])
        inputs = model_inputs(bundle.model, batch)
        with torch.inference_mode():
            assert torch.equal(bundle.model(**inputs).logits, base(**inputs).logits)
        assert anatomy.part(bundle.model, "connector") is bundle.model.model.multi_modal_projector
        assert len(generate(bundle, [chat("what?")], GenerationSettings(max_new_tokens=3))[0].tokens) <= 3
    finally:
        registry._all.cache_clear()


def test_an_unknown_family_is_refused_with_what_has_to_be_told():
    config = SimpleNamespace(model_type="qwen2_vll", vision_config=object())
    with pytest.raises(ValueError, match="did you mean 'qwen2_vl'") as refused:
        family_of(config)
    for field in ("tower", "blocks", "connector", "planner", "stand_ins", "pixels", "positions", "further"):
        assert field in str(refused.value) and field in Family.__dataclass_fields__


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gpt2", "gemma2", "phi3"])
def test_plain_language_models_need_nothing_told(model_type):
    assert family_of(T.AutoConfig.for_model(model_type)).kind == "language"


def test_every_family_imports_and_says_why_it_cannot():
    for name in registry.names("family"):
        family = registry.get("family", name)
        assert isinstance(family, Family) and family.model_type == name and family.about
        for ability in (family.custom_token_count, family.pack, family.prune):
            assert ability.can or ability.reason


def test_a_place_that_is_not_there_is_named():
    model = families.build("llava")
    model.config.model_type = "llava_next"  # has a newline, which this model has not
    with pytest.raises(
        ValueError, match=r"has nothing at 'model\.image_newline', where the family 'llava_next'"
    ):
        anatomy.parts(model)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("llava", {"crop_size": {"height": 32, "width": 32}}, "size: the image processor has 32"),
        ("llava_next", {"image_grid_pinpoints": [[16, 32]]}, "image_grid_pinpoints: the image processor has"),
        ("qwen2_vl", {"patch_size": 8}, "patch_size: the image processor has 8"),
        ("internvl", {"size": {"height": 16, "width": 32}}, "this family needs a square"),
        ("smolvlm", {"max_image_size": {"longest_edge": 32}}, "max_image_size: the image processor has 32"),
    ],
)
def test_an_image_processor_that_does_not_fit_is_refused(name, change, message, tmp_path):
    folder = families.save_family(name, tmp_path / name)
    images = type(family_files.image_processor(name))(**{**family_files._IMAGE_PROCESSORS[name][2], **change})
    images.save_pretrained(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)
