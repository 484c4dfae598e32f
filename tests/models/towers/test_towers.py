"""Every tower: its grid is known from sizes alone, it keeps its features whatever the batch, and gradients flow."""

from __future__ import annotations

import pytest
import torch

from vitrail import registry
from vitrail.models.towers.efficientnet import EfficientNetLite
from vitrail.models.towers.huggingface import HuggingFaceTower
from vitrail.models.vlm import build_tower

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
TOWERS = {
    "lite0": {"name": "efficientnet_lite", "image_size": 64},
    "lite2": {"name": "efficientnet_lite", "variant": "lite2", "image_size": 96},
    "convolutional": {"name": "convolutional", "image_size": 40, "channels": (8, 16), "blocks": 2},
    "s2": {"name": "s2", "base": {"name": "efficientnet_lite", "image_size": 64}},
    "siglip": {
        "model_type": "siglip_vision_model",
        **TINY,
        "image_size": 32,
        "patch_size": 8,
        "vision_use_head": False,
    },
    "clip": {"model_type": "clip_vision_model", **TINY, "image_size": 32, "patch_size": 8},
    "dinov2": {"model_type": "dinov2", **TINY, "image_size": 28, "patch_size": 14},
    "vit": {"model_type": "vit", **TINY, "image_size": 32, "patch_size": 8},
    "convnext": {
        "model_type": "convnext",
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "image_size": 64,
    },
    "resnet": {
        "model_type": "resnet",
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "embedding_size": 8,
    },
}


def tower(name):
    settings = TOWERS[name]
    if "name" not in settings:
        settings = {"name": "huggingface", "vision_config": settings}
    torch.manual_seed(0)
    return build_tower(settings)


@pytest.mark.parametrize("name", TOWERS)
def test_contract(name):
    built = tower(name).eval()
    processor = built.image_processor()
    pixels = torch.randn(3, 3, processor.size["height"], processor.size["width"])
    rows, cols = built.grid(100, 50)
    features = built(pixels)
    assert features.tokens.shape == (3 * rows * cols, built.width)
    assert features.lengths.tolist() == [rows * cols] * 3
    assert features.coords[rows * cols - 1].tolist() == [0, rows - 1, cols - 1]
    alone = built(pixels[1:2])
    torch.testing.assert_close(
        alone.tokens, features.tokens[rows * cols : 2 * rows * cols], atol=1e-5, rtol=1e-4
    )
    features.tokens.square().mean().backward()
    assert sum(p.grad is not None and bool(p.grad.any()) for p in built.parameters()) > 3
    half = built.to(torch.bfloat16)(pixels.to(torch.bfloat16))
    assert torch.isfinite(half.tokens.float()).all()


def test_every_registered_tower_is_under_contract():
    assert {TOWERS[name].get("name", "huggingface") for name in TOWERS} == set(registry.names("tower"))


def test_summary_tokens_are_left_out():
    built = tower("clip").eval()
    pixels = torch.randn(1, 3, 32, 32)
    hidden = built.model(pixels, output_hidden_states=True).hidden_states[-1]
    assert hidden.shape[1] == 17
    assert torch.equal(built(pixels).tokens, hidden[0, 1:])


def test_a_layer_is_chosen_as_llava_does():
    settings = {"name": "huggingface", "vision_config": TOWERS["clip"], "layer": -2}
    built = build_tower(settings).eval()
    pixels = torch.randn(1, 3, 32, 32)
    expected = built.model(pixels, output_hidden_states=True).hidden_states[-2][0, 1:]
    assert torch.equal(built(pixels).tokens, expected)


def test_from_pretrained_takes_the_vision_half_of_a_dual_encoder(tmp_path):
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    vision = {**TINY, "image_size": 32, "patch_size": 8}
    clip = CLIPModel(
        CLIPConfig(
            vision_config=vision,
            text_config={**TINY, "vocab_size": 99, "projection_dim": 16},
            projection_dim=16,
        )
    )
    clip.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        tmp_path
    )
    built = HuggingFaceTower.from_pretrained(str(tmp_path)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    expected = clip.eval().vision_model(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
    torch.testing.assert_close(built(pixels).tokens, expected.reshape(-1, 32))
    again = build_tower({"name": "huggingface", **built.config.model_dump()})
    assert again.image_processor().to_dict()["crop_size"]["height"] == 32


def published_state(variant):
    """A state dict with the key names of the published packages, from a differently seeded network."""
    torch.manual_seed(5)
    source = EfficientNetLite(EfficientNetLite.Config(variant=variant)).eval()
    inner = {"expand.1": "_bn0", "depthwise.1": "_bn1", "project.1": "_bn2",
             "expand.0": "_expand_conv", "depthwise.0": "_depthwise_conv", "project.0": "_project_conv"}  # fmt: skip
    outer = {"stem.0": "_conv_stem", "stem.1": "_bn0", "head.0": "_conv_head", "head.1": "_bn1"}
    state = {"_fc.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}
    for key, value in source.state_dict().items():
        parts = key.split(".")
        if parts[0] == "blocks":
            state[f"_blocks.{parts[1]}.{inner['.'.join(parts[2:4])]}.{parts[4]}"] = value
        else:
            state[f"{outer['.'.join(parts[:2])]}.{parts[2]}"] = value
    return source, state


def test_published_weights_are_read_and_strange_ones_refused():
    source, state = published_state("lite0")
    target = EfficientNetLite(EfficientNetLite.Config()).eval()
    target.load_published(state)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(target(pixels).tokens, source(pixels).tokens)
    with pytest.raises(ValueError, match="not weights of EfficientNet-lite1"):
        EfficientNetLite(EfficientNetLite.Config(variant="lite1")).load_published(state)


def test_same_padding_as_tensorflow():
    """At stride 2 on an even size the extra row and column of padding stand at the end."""
    from vitrail.models.towers.efficientnet import _SameConv

    conv = _SameConv(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(conv.weight)
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., 0, 0] = 1
    assert conv(picture).flatten().tolist() == [1, 0, 0, 0]
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., 2, 2] = 1
    assert conv(picture).flatten().tolist() == [1, 1, 1, 1]


def test_unknown_variant_names_the_field():
    with pytest.raises(ValueError, match="variant"):
        EfficientNetLite.Config(variant="lite9")
    with pytest.raises(ValueError, match=r"vision_config needs a 'model_type'"):
        HuggingFaceTower(HuggingFaceTower.Config(vision_config={}))
