"""S² as a tower: in front of a connector, with a frozen tower's features, from a recipe."""

import numpy as np
import pytest
import torch

from conftest import picture
from vitrail.models.frozen import FrozenTower
from vitrail.models.testbeds import nano
from vitrail.models.towers.convolutional import ConvolutionalTower
from vitrail.models.towers.efficientnet import EfficientNetLite
from vitrail.models.towers.huggingface import HuggingFaceTower
from vitrail.models.towers.s2 import S2Tower
from vitrail.models.vlm import build_tower


@pytest.fixture(scope="module")
def base():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HuggingFaceTower(HuggingFaceTower.Config(vision_config=nano._VISION)).eval()


def pixels(side, images=2):
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_it_costs_no_token_and_learns_nothing(base):
    tower = S2Tower.around(base, "huggingface", scales=(1, 2, 3)).eval()
    assert (tower.width, tower.grid(0, 0), tower.image_size) == (96, (4, 4), 96)
    assert tower.relative_flops == 14
    assert sum(p.numel() for p in tower.parameters()) == sum(p.numel() for p in base.parameters())
    found = tower(pixels(96))
    assert found.tokens.shape == (2 * 16, 96) and found.lengths.tolist() == [16, 16]
    # At the native size the first channels are the base's own, bit for bit.
    assert torch.equal(tower(pixels(32)).tokens[:, :32], base(pixels(32)).tokens)
    again = S2Tower.around(base, "huggingface", scales=(1, 2, 3), chunked=True).eval()
    assert torch.allclose(again(pixels(96)).tokens, found.tokens, atol=1e-5)


def test_a_pooled_vector_is_the_mean_over_tiles():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = EfficientNetLite(EfficientNetLite.Config(image_size=64)).eval()
    tower = S2Tower.around(net, "efficientnet_lite").eval()
    x = pixels(128)
    with torch.no_grad():
        found = tower(x)
        tiles = [net(x[:, :, r : r + 64, c : c + 64]).pooled for r in (0, 64) for c in (0, 64)]
    assert found.tokens.shape == (2 * 4, 2560)
    assert torch.allclose(found.pooled[:, 1280:], torch.stack(tiles).mean(0), atol=1e-4)


def test_a_convolutional_tower_has_a_native_size_too():
    """Its size stands in its configuration; tiles of a larger picture are what it sees alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ConvolutionalTower(ConvolutionalTower.Config(image_size=32, channels=(8, 16), blocks=1)).eval()
    tower = S2Tower.around(net, "convolutional").eval()
    assert (tower.native, tower.image_size, tower.width, tower.grid(0, 0)) == (32, 64, 32, (8, 8))
    x = pixels(64)
    with torch.no_grad():
        found = tower(x).tokens.reshape(2, 8, 8, 32)
        corner = net(x[:, :, :32, :32]).tokens.reshape(2, 8, 8, 16)
    pooled = corner.reshape(2, 4, 2, 4, 2, 16).mean((2, 4))
    assert torch.allclose(found[:, :4, :4, 16:], pooled, atol=1e-5)


def test_copies_of_one_scale_are_the_control_of_the_same_width(base):
    """As wide as several scales, and nothing in it that one scale does not have."""
    copies = S2Tower.around(base, "huggingface", scales=(1, 1)).eval()
    scales = S2Tower.around(base, "huggingface", scales=(1, 2)).eval()
    assert copies.width == scales.width and copies.grid(0, 0) == scales.grid(0, 0)
    assert copies.image_size == 32 and copies.relative_flops == 2
    x = pixels(32)
    found = copies(x).tokens
    assert torch.equal(found[:, :32], base(x).tokens) and torch.equal(found[:, 32:], base(x).tokens)


def test_it_is_built_from_what_it_saves(base):
    tower = S2Tower.around(base, "huggingface", scales=(1, 3), picture="native")
    settings = tower.settings()
    again = build_tower({"name": "s2", **settings})
    assert again.config == tower.config and again.state_dict().keys() == tower.state_dict().keys()
    assert again.image_size == 32


def test_gradients_reach_the_base(base):
    tower = build_tower({"name": "s2", **S2Tower.around(base, "huggingface").settings()})
    tower(pixels(64)).tokens[:, 32:].sum().backward()
    assert all(p.grad is not None for p in tower.base.model.encoder.parameters())


def test_a_frozen_tower_keeps_features_apart_by_scales(base, tmp_path):
    pictures = [(picture(seed, (70, 50)), None) for seed in range(3)]
    stored = {}
    for scales in ((1,), (1, 1), (1, 2)):
        tower = S2Tower.around(base, "huggingface", scales=scales)
        frozen = FrozenTower(tower, runtime="torch", cache=tmp_path, dtype="float32")
        found = frozen(pictures)["vision_features"]
        opened = [one.open(root) for one, root in pictures]
        direct = tower.image_processor()(images=opened, return_tensors="pt")["pixel_values"]
        assert direct.shape[-1] == 32 * max(scales)
        with torch.no_grad():
            expected = tower(direct).tokens.reshape(3, 16, -1)
        assert torch.allclose(found, expected, atol=1e-5)
        stored[frozen.fingerprint] = found
    assert len(stored) == 3


@pytest.mark.long
def test_onnx_runtime_gives_the_same_for_each_set_of_scales(base, tmp_path):
    pictures = [(picture(seed, (70, 50)), None) for seed in range(3)]
    for scales, antialias in (((1, 2), False), ((1, 3), False), ((1, 2), True)):
        tower = S2Tower.around(base, "huggingface", scales=scales, antialias=antialias)
        fast = FrozenTower(tower, runtime="onnx", cache=tmp_path / "onnx", dtype="float32")
        slow = FrozenTower(tower, runtime="torch", cache=tmp_path / "torch", dtype="float32")
        found, expected = (one(pictures)["vision_features"] for one in (fast, slow))
        assert np.allclose(found, expected, atol=1e-3)


def test_a_recipe_builds_it(tmp_path):
    from vitrail.recipes.components import Tower

    read = Tower.model_validate({"name": "s2", "base": {"name": "efficientnet_lite", "image_size": 64}})
    assert read.build().grid(0, 0) == (2, 2)
    wrong = {
        "base.variant": {"base": {"name": "efficientnet_lite", "variant": "lite9"}},
        "base.name": {"base": "efficientnet"},
        "scales.1": {"base": "efficientnet_lite", "scales": [1, 0]},
        "resize_to": {"base": "efficientnet_lite", "resize_to": 2},
        "antialias has no effect": {"base": "efficientnet_lite", "picture": "native", "antialias": True},
        "its own base": {"base": {"name": "s2", "base": "efficientnet_lite"}},
    }
    for message, settings in wrong.items():
        with pytest.raises(ValueError, match=message):
            Tower.model_validate({"name": "s2", **settings})
    with pytest.raises(ValueError, match="cannot be divided by 2"):
        S2Tower(S2Tower.Config(base={"name": "efficientnet_lite", "image_size": 63}, scales=(1, 1.35)))
    with pytest.raises(ValueError, match="does not read pretrained weights"):
        S2Tower.from_pretrained("anywhere", base="efficientnet_lite")


def test_pretrained_weights_are_those_of_the_base(base, tmp_path):
    base.model.save_pretrained(tmp_path)
    base.image_processor().save_pretrained(tmp_path)
    tower = S2Tower.from_pretrained(str(tmp_path), base={"name": "huggingface", "layer": -2}, scales=(1, 2))
    assert tower.base.config.layer == -2
    for name, value in base.model.state_dict().items():
        assert torch.equal(tower.base.model.state_dict()[name], value)


def test_a_tower_without_a_square_size_is_refused(base):
    class Odd(HuggingFaceTower):
        def grid(self, width, height):
            return 2, 3

    with pytest.raises(ValueError, match="no square native size"):
        S2Tower.around(Odd(HuggingFaceTower.Config(vision_config=nano._VISION)), "huggingface")


def test_a_whole_model_stands_on_it(tmp_path):
    """Built from parts, trained a step, saved, loaded, generating."""
    import copy

    from vitrail.models.joining import join
    from vitrail.models.loading import load

    bundle = nano.build(seed=1)
    tower = S2Tower.around(copy.deepcopy(bundle.model.tower), "huggingface")
    joined = join(
        tower=tower,
        tower_name="s2",
        language=bundle.model.language,
        tokenizer=bundle.tokenizer,
        connector={"name": "mlp", "pool": 2},
    )
    from conftest import chat

    batch = joined.collator()([joined.encoder.encode(chat("what is it?", "a thing"))])
    assert batch["pixel_values"].shape[-1] == 64
    layout = batch.pop("layout")
    joined.model(**batch).loss.backward()
    assert joined.model.connector.up.weight.grad[:, 32:].abs().sum() > 0
    with torch.no_grad():
        before = joined.model(**batch).logits
    joined.save(tmp_path / "model")
    again = load(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits, before)
    batch.pop("labels")
    assert again.model.generate(**batch, max_new_tokens=3).shape[1] == layout.shape[1] + 3
