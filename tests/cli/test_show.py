"""``vitrail show`` of every family and of encoders, from their folders."""

import json

import pytest
import transformers as T

import families
from vitrail.cli.main import main
from vitrail.data.image_plans.plan import Visual
from vitrail.models.loading import load
from vitrail.recipes.anatomy_text import TYPICAL_SIZES

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
VISION = families.VISION
ENCODERS = {
    "bert": lambda: T.BertForMaskedLM(T.BertConfig(**TEXT)),
    "xlm-roberta": lambda: T.XLMRobertaForMaskedLM(T.XLMRobertaConfig(**TEXT)),
    "roberta": lambda: T.RobertaForMaskedLM(T.RobertaConfig(**TEXT)),
    "modernbert": lambda: T.ModernBertForMaskedLM(
        T.ModernBertConfig(
            **TEXT, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2
        )
    ),
    "clip": lambda: T.CLIPModel(
        T.CLIPConfig(text_config={**TEXT, "eos_token_id": 2}, vision_config=VISION, projection_dim=16)
    ),
    "siglip": lambda: T.SiglipModel(T.SiglipConfig(text_config=TEXT, vision_config=VISION)),
}


def shown(capsys, folder, *words):
    capsys.readouterr()
    assert main(["show", str(folder), *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", families.MULTIMODAL)
def test_a_family(name, tmp_path, capsys):
    folder = families.save_family(name, tmp_path / name)
    found = json.loads(shown(capsys, folder, "--json"))
    bundle = load(folder)
    assert found["family"]["name"] == name and found["placeholder"] == bundle.model.config.image_token_id
    assert found["parameters"] == sum(p.numel() for p in bundle.model.parameters())
    assert [part["name"] for part in found["parts"]] == ["tower", "connector", "language"]
    for part in found["parts"]:
        for path in part["path"].split(", "):
            assert path in dict(bundle.model.named_modules()) | dict(bundle.model.named_parameters())
    for size, one in zip(TYPICAL_SIZES, found["pictures"], strict=True):
        plan = bundle.encoder.planner(*size)
        assert one["tokens"] == sum(len(span) for span in plan.spans if isinstance(span, Visual))
        assert one["tiles"] == len(plan.tiles)
    assert set(found["can"]) == {"custom_token_count", "pack", "prune", "interleave"}
    assert all(one["can"] or one["reason"] for one in found["can"].values())
    text = " ".join(shown(capsys, folder).split())
    for said in (
        "tower.blocks",
        "language.layers",
        found["positions"],
        "1280 × 720",
        bundle.family.about.split(",")[0],
    ):
        assert said in text


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder(name, tmp_path, capsys):
    model = ENCODERS[name]()
    model.save_pretrained(tmp_path / name)
    found = json.loads(shown(capsys, tmp_path / name, "--json"))
    dual = name in ("clip", "siglip")
    assert found["family"]["kind"] == ("dual encoder" if dual else "encoder")
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    expected = (
        ("vision.blocks", "text.layers", "text.projection") if dual else ("language.layers", "language.head")
    )
    assert set(expected) <= set(found["places"])
    assert all("2 × " in found["places"][place] for place in expected if place.endswith(("layers", "blocks")))
    assert "pictures" not in found and "can" not in found
    assert "can be" not in shown(capsys, tmp_path / name)


def test_a_description_alone(tmp_path, capsys):
    """config.json without image processor: everything but the pictures, and why."""
    folder = families.save_family("internvl", tmp_path / "whole")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text((folder / "config.json").read_text())
    text = shown(capsys, alone)
    assert "what a picture becomes is not known" in text and "preprocessor_config.json" in text
    (alone / "preprocessor_config.json").write_text((folder / "preprocessor_config.json").read_text())
    assert json.loads(shown(capsys, alone, "--json"))["pictures"][0]["tokens"] > 0


def test_a_family_that_is_not_known(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "lava", "vision_config": {}}')
    assert main(["show", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert (
        "vitrail does not know the family 'lava'" in said and "did you mean" in said and "connector" in said
    )
