"""Adapters and foldable surgeries as one plain folder, equal in a fresh process; everything else refused by reason."""

from __future__ import annotations

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from vitrail.models.surgery import operating
from vitrail.serving.exports import verifying
from vitrail.serving.exports.export import LAST_PLACES, Settings, export
from vitrail.serving.exports.folding import fold, open_model

ATTENTION = r".*language_model.*\.(q_proj|v_proj)"


def said(_):
    pass


def adapter(base, folder, config, size=0.1):
    """Adapters with values on the model in ``base``, as PEFT saves them."""
    from vitrail.models.loading import load

    torch.manual_seed(0)
    model = peft.get_peft_model(load(base, dtype=torch.float32).model, config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name or "hada_" in name or "ia3_" in name:
                value.add_(torch.randn_like(value) * size)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    return str(folder)


def lora(**settings):
    return peft.LoraConfig(**{"r": 4, "target_modules": ATTENTION, **settings})


@pytest.fixture(scope="module")
def dora(saved_family, tmp_path_factory):
    root = tmp_path_factory.mktemp("dora")
    return saved_family("llava"), adapter(
        saved_family("llava"), root / "adapter", lora(use_dora=True, use_rslora=True)
    )


def test_a_dora_on_a_llava_becomes_a_llava(dora, tmp_path):
    base, folder = dora
    done = export(folder, tmp_path / "out", Settings("merged", max_shard_size="100KB"), say=said)
    found = {name.partition(" (")[0]: value for name, value in done.checks.items()}
    assert found["log-probabilities before and behind folding"] <= verifying.TOLERANCE
    assert found["log-probabilities, transformers alone"] <= verifying.TOLERANCE
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert not any("adapter" in name for name in done.files)
    card = (tmp_path / "out" / "README.md").read_text()
    assert str(base) in card and "Folded into the weights: adapters (LORA)" in card
    with pytest.raises(FileExistsError, match="exists already"):
        export(folder, tmp_path / "out", Settings("merged"), say=said)


KINDS = {
    "loha": peft.LoHaConfig(r=2, target_modules=ATTENTION),
    "ia3": peft.IA3Config(target_modules=ATTENTION, feedforward_modules=[]),
    "with a whole layer": lora(modules_to_save=["multi_modal_projector"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_folding_keeps_what_the_adapted_model_says(saved_family, tmp_path, kind):
    opened = open_model(adapter(saved_family("llava"), tmp_path / "a", KINDS[kind]), say=said)
    before = verifying.asked(opened.bundle)
    fold(opened, said)
    assert type(opened.bundle.model).__name__ == "LlavaForConditionalGeneration"
    assert not any("lora" in name or "base_layer" in name for name in opened.bundle.model.state_dict())
    after = verifying.answers_of(opened.bundle.model, before.inputs)
    assert verifying.largest_difference(before.answers, after) <= verifying.TOLERANCE


def test_what_float32_cannot_tell_apart_is_equal(saved_family, tmp_path):
    """Large adapters in float32: sums in another order differ by more than 1e-5, and no more than last places do."""
    opened = open_model(adapter(saved_family("llava"), tmp_path / "a", lora(r=8), size=0.5), say=said)
    before = verifying.asked(opened.bundle)
    fold(opened, said)
    model = opened.bundle.model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    after = verifying.answers_of(model, before.inputs)
    moved = verifying.moved_by_last_places(model, before.inputs, after)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    difference = verifying.largest_difference(before.answers, after)
    assert 0 < moved < 1e-3 and difference <= LAST_PLACES * moved
    with torch.no_grad():
        model.model.language_model.layers[0].self_attn.q_proj.weight[0, 0] += 0.05
    wrong = verifying.largest_difference(before.answers, verifying.answers_of(model, before.inputs))
    assert wrong > LAST_PLACES * moved


def test_weights_in_bfloat16_are_rounded_once(saved_family, tmp_path):
    base = tmp_path / "base"
    from vitrail.models.loading import load

    bundle = load(saved_family("llava"))
    bundle.model.to(torch.bfloat16)
    bundle.save(base)
    folder = adapter(base, tmp_path / "a", lora())
    whole = open_model(folder, float32=True, say=said)
    stored = open_model(folder, float32=False, say=said)
    fold(whole, said)
    fold(stored, said)
    wanted = whole.bundle.model.to(torch.bfloat16).state_dict()
    found = stored.bundle.model.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_low_rank_layers_are_folded(tmp_path):
    from vitrail.models.testbeds import nano

    bundle = nano.build().operated("sltrain", {"rank": 4, "density": 0.1, "discard_weights": True})
    bundle.save(tmp_path / "model")
    opened = open_model(str(tmp_path / "model"), say=said)
    assert opened.folds == ["surgery sltrain"]
    before = verifying.asked(opened.bundle)
    fold(opened, said)
    assert not hasattr(opened.bundle.model.config, operating.KEY)
    after = verifying.answers_of(opened.bundle.model, before.inputs)
    assert verifying.largest_difference(before.answers, after) <= verifying.TOLERANCE


def test_what_cannot_be_folded_is_refused(saved_family, dora, tmp_path):
    from vitrail.models.testbeds import nano

    base, folder = dora
    nano.build().operated("moca").save(tmp_path / "moca")
    with pytest.raises(ValueError, match="surgery 'moca' cannot be folded into plain weights"):
        open_model(str(tmp_path / "moca"), say=said)
    with pytest.raises(ValueError, match="has nothing to fold in"):
        export(str(base), tmp_path / "out", Settings("merged", verify=False), say=said)
    with pytest.raises(ValueError, match="--base goes with a folder of adapters"):
        open_model(str(base), base="x", say=said)
    with pytest.raises(ValueError, match=r"do not fit .*; give their model with --base"):
        open_model(folder, base=str(saved_family("smolvlm")), say=said)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".partial*"))


def changed(folder, out, **settings):
    out.mkdir()
    told = json.loads((folder / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps({**told, **settings}))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name: torch.zeros_like(value) for name, value in tensors.items()}, out / "adapter_model.safetensors"
    )
    return out


def test_folders_of_adapters_that_are_wrong(saved_family, tmp_path):
    from pathlib import Path

    folder = Path(adapter(saved_family("llava"), tmp_path / "a", lora()))
    with pytest.raises(ValueError, match="none of the 6 layers with adapters changed"):
        fold(open_model(str(changed(folder, tmp_path / "zero")), say=said), said)
    for settings, reason in (
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}, "is PREFIX_TUNING: it puts learnt vectors"),
        ({"base_model_name_or_path": None}, "does not name the model under its adapters"),
        ({"base_model_name_or_path": "/nowhere/at all"}, "cannot be used: .*give another with --base"),
    ):
        wrong = changed(folder, tmp_path / f"w{len(list(tmp_path.iterdir()))}", **settings)
        with pytest.raises(ValueError, match=reason):
            open_model(str(wrong), say=said)
    wrong = changed(folder, tmp_path / "more")
    tensors = load_file(wrong / "adapter_model.safetensors")
    tensors |= {name.replace("layers.0", "layers.9"): value.clone() for name, value in tensors.items()}
    save_file(tensors, wrong / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="of its tensors belong to no layer"):
        open_model(str(wrong), say=said)
    (wrong / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no adapter_model.safetensors; other formats can run code"):
        open_model(str(wrong), say=said)


def test_quantised_weights_are_refused(saved_family, tmp_path):
    import shutil

    shutil.copytree(saved_family("llava"), tmp_path / "q")
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "q" / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"holds quantised weights \(bitsandbytes\).*the same model unquantised"
    ):
        open_model(str(tmp_path / "q"), say=said)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"to": "gguf"}, "to is 'gguf'; use one of hf-llava, merged, onnx"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"to": "onnx", "dtype": "bfloat16"}, "dtype is 'bfloat16'; ONNX is written in float32"),
        ({"max_shard_size": "5"}, "max_shard_size is '5'; write a number and a unit"),
        ({"tolerance": 0}, "tolerance is 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Settings(**{"to": "merged", **settings})


def test_a_difference_leaves_nothing_behind(dora, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "largest_difference", lambda *_: 0.5)
    with pytest.raises(ValueError, match=r"differ by 0.5, more than 1e-05.*--tolerance allows more"):
        export(dora[1], tmp_path / "out", Settings("merged"), say=said)
    assert list(tmp_path.iterdir()) == []
