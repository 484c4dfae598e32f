"""vitrail's own model as transformers' LLaVA: equal in a process without vitrail, or refused with every reason."""

from __future__ import annotations

import json

import pytest
import torch

from vitrail.models.testbeds import nano
from vitrail.models.weights.checkpoint import headers
from vitrail.serving.exports import llava, verifying
from vitrail.serving.exports.export import Settings, export
from vitrail.serving.exports.folding import cast

PLAIN = {"name": "mlp", "norm": False, "pool": None, "cell_embedding": False}
CLIP = {"model_type": "clip_vision_model", "vision_use_head": None, "projection_dim": 32}


def said(_):
    pass


def built(connector=None, **options):
    return nano.build(connector={**PLAIN, **(connector or {})}, **options)


def saved(bundle, folder):
    bundle.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An untied model with a CLIP tower at the layer before the last, in bfloat16, in small shards."""
    root = tmp_path_factory.mktemp("llava")
    bundle = built(
        {"hidden": 40}, vision_config=CLIP, language="qwen2", language_config={"tie_word_embeddings": False}
    )
    bundle.model.config.tower["layer"] = -2
    bundle.model.tower.config = bundle.model.tower.config.model_copy(update={"layer": -2})
    source = saved(bundle, root / "model")
    (root / "model" / "README.md").write_text("---\nlicense: apache-2.0\n---\nmine\n")
    (root / "model" / "LICENSE").write_text("terms\n")
    out = root / "out"
    return bundle, out, export(source, out, Settings("hf-llava", "bfloat16", "200KB"), say=said)


def test_it_says_the_same_where_vitrail_cannot_be_imported(exported):
    _, _, done = exported
    found = {name.partition(",")[0]: value for name, value in done.checks.items()}
    assert found["log-probabilities"] <= verifying.TOLERANCE and found["prompts"] == 5
    assert done.checks["tokens and pixels of the processor"] == "equal" and done.dtype == "bfloat16"
    assert any(name.startswith("what rounding to bfloat16 moves") for name in done.checks)


def test_the_folder_is_what_vllm_documents(exported):
    bundle, out, _ = exported
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"] and config["dtype"] == "bfloat16"
    assert config["text_config"]["architectures"] == ["Qwen2ForCausalLM"]
    assert config["vision_config"]["model_type"] in llava.VLLM_TOWERS
    assert (config["vision_feature_layer"], config["vision_feature_select_strategy"]) == (-2, "default")
    shards = sorted(out.glob("model-*.safetensors"))
    index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    held = {name: shard.name for shard in shards for name in headers(shard)}
    assert len(shards) > 1 and held == index
    prefixes = ("language_model.", "vision_tower.vision_model.", "multi_modal_projector.linear_")
    assert all(name.startswith(prefixes) for name in held)
    assert held.keys() >= {"language_model.lm_head.weight", "multi_modal_projector.linear_1.weight"}
    assert {info.dtype for shard in shards for info in headers(shard).values()} == {"BF16"}
    ends = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert bundle.encoder.end_of_turn[0] in (ends if isinstance(ends, list) else [ends])


def test_the_card_says_where_it_comes_from(exported):
    _, out, done = exported
    card = (out / "README.md").read_text()
    front = card.split("---\n")[1]
    assert "license: apache-2.0" in front and "pipeline_tag: image-text-to-text" in front
    assert "LlavaForConditionalGeneration.from_pretrained" in card and "largest difference" in card
    assert (out / "LICENSE").read_text() == "terms\n"
    record = json.loads((out / "vitrail_export.json").read_text())
    assert record["to"] == "hf-llava" and record["checks"].keys() == done.checks.keys()


def test_vitrail_reads_it_back(exported):
    from vitrail.models.loading import load

    bundle, out, _ = exported
    again = load(out, dtype=torch.float32)
    asked = verifying.asked(again)
    own = verifying.asked(bundle)
    assert all(
        torch.equal(one["input_ids"], two["input_ids"])
        for one, two in zip(asked.inputs, own.inputs, strict=True)
    )
    cast(cast(bundle.model, torch.bfloat16), torch.float32)
    answers = verifying.answers_of(bundle.model, own.inputs)
    assert verifying.largest_difference(answers, asked.answers) <= verifying.TOLERANCE


def test_cells_of_one_vector_and_a_pool_of_the_towers_grid_are_llavas():
    bundle = built({"pool": 4, "cell_embedding": True})
    with torch.no_grad():
        bundle.model.connector.cells += torch.arange(64.0)
    places = llava.require_llava(bundle)
    made = llava.build(bundle, places, torch.float32)
    asked = verifying.asked(bundle)
    pixels = asked.inputs[-1]["pixel_values"]
    with torch.inference_mode():
        expected = bundle.model.get_image_features(pixels).pooler_output
        state = llava.projector(bundle.model.connector)
        tokens = bundle.model.tower(pixels).tokens
        hidden = torch.nn.functional.gelu(tokens @ state["linear_1.weight"].T + state["linear_1.bias"])
        found = hidden @ state["linear_2.weight"].T + state["linear_2.bias"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(made.model.multi_modal_projector.linear_2.bias, state["linear_2.bias"])
    with torch.no_grad():
        bundle.model.connector.cells[3] += 1
    with pytest.raises(ValueError, match="cell_embedding adds a learnt vector for each cell"):
        llava.require_llava(bundle)


def test_every_reason_is_said_at_once(nano):
    with pytest.raises(ValueError) as refused:
        llava.require_llava(nano)
    told = str(refused.value)
    assert "connector.norm puts a layer norm" in told and "connector.pool makes 2 × 2 cells" in told
    assert "norm: false" in told and "pool: null" in told


REFUSED = {
    "wide": ({"connector": {"hidden": 100}}, "connector.hidden is 100 wide"),
    "words": ({"connector": {"pool": 4, "cell_words": True}}, "writes words between"),
    "stride": ({"connector": {"stride": 2}}, "joins blocks of 2 × 2"),
    "softcap": (
        {"language": "gemma2"},
        "does more to its logits than its head does \\(final_logit_softcapping\\)",
    ),
    "maps": (
        {"vision_config": {"model_type": "convnext", "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}},
        "gives maps of rows and columns",
    ),
    "registers": (
        {"vision_config": {"model_type": "dinov2_with_registers", "num_register_tokens": 4}},
        "5 tokens in front of the grid",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_llava_does_not_compute_is_refused(name):
    settings, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        llava.require_llava(built(**settings))


def test_other_connectors_towers_and_models_are_refused(saved_family):
    from vitrail.models.loading import load
    from vitrail.models.towers.efficientnet import EfficientNetLite

    bundle = nano.build(connector={"name": "resampler", "latents": 4})
    bundle.model.tower = EfficientNetLite(EfficientNetLite.Config(image_size=64))
    bundle.model.config.tower = {"name": "efficientnet_lite"}
    with pytest.raises(
        ValueError, match=r"its tower 'efficientnet_lite' is no vision.*'resampler' is not LLaVA's"
    ):
        llava.require_llava(bundle)
    with pytest.raises(ValueError, match="is a class of transformers' already"):
        llava.require_llava(load(saved_family("smolvlm")))


def test_a_processor_that_makes_other_tokens_is_seen(tmp_path):
    bundle = built()
    places = llava.require_llava(bundle)
    asked = verifying.Asked([], [{"input_ids": torch.tensor([[1, 2]])}], [])
    with pytest.raises(ValueError, match="other tokens than vitrail's of prompt 0"):
        verifying._require_same_inputs(0, asked.inputs[0], {"input_ids": torch.tensor([[1, 3]])})
    llava.save_processor(bundle, places, tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["patch_size"] == 8
