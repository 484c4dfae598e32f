"""The dual encoder: CLIP's names and shapes, saved and loaded to the bit, gradients where they belong."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers as T

from conftest import chat, picture
from vitrail.data.records import Document, Group, Text
from vitrail.models import anatomy
from vitrail.models.dual_configuration import VitrailDualEncoderConfig
from vitrail.models.dual_encoder import VitrailDualEncoder
from vitrail.models.dual_loading import load_dual_encoder
from vitrail.models.features import Features, grid_coords
from vitrail.models.pairs import DualBundle, pair_of
from vitrail.models.pooling import AttentionPool, mean_of_items
from vitrail.models.testbeds import dual

POOLINGS = [("attention", "mean"), ("mean", "first"), ("mean", "own")]


@pytest.fixture(scope="module")
def house():
    return dual.nano(seed=0)


def batch_of(bundle, count=4):
    records = [chat("what?", f"picture {i} of a {w} dog", seed=i) for i, w in enumerate("abcdefgh"[:count])]
    return bundle.collator()([bundle.encoder.encode(record) for record in records])


def inputs_of(batch):
    return {name: value for name, value in batch.items() if not name.endswith("_key")}


def test_it_speaks_as_clip_does(house):
    clip = T.CLIPModel(
        T.CLIPConfig(
            text_config={"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "vocab_size": 99},
            vision_config={"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "image_size": 16,
                           "patch_size": 8},
            projection_dim=32,
        )
    )  # fmt: skip
    ours = house.model(**inputs_of(batch_of(house)), return_loss=True)
    ids = torch.ones(4, 5, dtype=torch.long)
    theirs = clip(input_ids=ids, pixel_values=torch.zeros(4, 3, 16, 16), return_loss=True)
    assert set(ours.keys()) == set(theirs.keys())
    for name in ("logits_per_image", "logits_per_text", "image_embeds", "text_embeds", "loss"):
        assert ours[name].shape == theirs[name].shape
    for name in ("get_image_features", "get_text_features"):
        assert hasattr(house.model, name)
    x = house.model.get_image_features(pixel_values=batch_of(house)["pixel_values"]).pooler_output
    torch.testing.assert_close(torch.nn.functional.normalize(x, dim=-1), ours.image_embeds)
    assert house.model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-3)


def test_the_processor_does_both(house):
    pictures = [picture(seed).open() for seed in range(2)]
    batch = house.processor(
        text=["a dog", "two red cats"], images=pictures, return_tensors="pt", padding=True
    )
    assert {"input_ids", "attention_mask", "pixel_values"} <= set(batch)
    names = ("input_ids", "attention_mask", "pixel_values")
    assert house.model(**{name: batch[name] for name in names}).logits_per_image.shape == (2, 2)


@pytest.mark.parametrize(("vision", "text"), POOLINGS)
def test_saved_and_loaded_to_the_bit(tmp_path, vision, text):
    bundle = dual.nano(seed=1, vision_pooling=vision, text_pooling=text, logit_bias_init_value=-10.0)
    batch = inputs_of(batch_of(bundle))
    with torch.no_grad():
        before = bundle.model(**batch).logits_per_image
    bundle.save(tmp_path / "model")
    again = load_dual_encoder(tmp_path / "model")
    assert isinstance(again, DualBundle) and isinstance(again.model, VitrailDualEncoder)
    reread = inputs_of(batch_of(again))
    for name, value in batch.items():
        assert torch.equal(reread[name], value), name
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits_per_image, before)
    for name, value in bundle.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    auto = T.AutoModel.from_pretrained(tmp_path / "model")
    assert type(auto) is VitrailDualEncoder
    assert type(T.AutoProcessor.from_pretrained(tmp_path / "model")).__name__ == "VitrailDualEncoderProcessor"


def test_weights_that_are_missing_are_refused(tmp_path, house):
    from safetensors.torch import load_file, save_file

    house.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    del weights["text_projection.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing_keys.*text_projection"):
        load_dual_encoder(tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(house, dtype):
    model = copy.deepcopy(house.model).to(dtype)
    batch = inputs_of(batch_of(house))
    with torch.no_grad():
        half, whole = model(**batch).logits_per_image, house.model(**batch).logits_per_image
    assert half.dtype == dtype
    assert torch.allclose(half.float(), whole, atol=0.5)


def test_gradients_reach_every_part_and_only_what_trains(house):
    model = copy.deepcopy(house.model).train()
    model(**inputs_of(batch_of(house)), return_loss=True).loss.backward()
    lacking = [name for name, one in model.named_parameters() if one.grad is None]
    # The tower's own head is past the layer that is read, and a last norm may be.
    assert all(name.startswith("vision_model.model.") and "encoder" not in name for name in lacking), lacking
    from vitrail.training.selection import select_parameters

    chosen = select_parameters(model, ["vision.projection", "text.layers[-1:]", "temperature"])
    assert {name.partition(".")[0] for name in chosen.parameters} == {
        "visual_projection", "text_model", "logit_scale"
    }  # fmt: skip
    assert all("encoder.layer.1." in name for name in chosen.parameters if name.startswith("text_model"))


def test_anatomy(house):
    found = anatomy.parts(house.model)
    assert {"vision", "vision.blocks", "vision.projection", "text", "text.layers", "text.projection",
            "temperature"} <= set(found)  # fmt: skip
    rows = {row.name: row.parameters for row in anatomy.counts(house.model)}
    assert set(rows) == {"vision", "text", "temperature"}
    assert sum(rows.values()) == sum(p.numel() for p in house.model.parameters())


def test_stored_features_are_pixels(house):
    batch = batch_of(house)
    features = house.model.tower(batch["pixel_values"])
    rows, cols = house.model.tower.grid(0, 0)
    stored = features.tokens.reshape(4, rows * cols, -1)
    whole = house.model.get_image_features(pixel_values=batch["pixel_values"]).pooler_output
    torch.testing.assert_close(house.model.get_image_features(vision_features=stored).pooler_output, whole)
    with pytest.raises(ValueError, match="exactly one of pixel_values and vision_features"):
        house.model.get_image_features()
    own = dual.nano(vision_pooling="own").model
    with pytest.raises(ValueError, match="use 'attention' or 'mean'"):
        own.get_image_features(vision_features=stored)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_count(house, side):
    ids = torch.tensor([[300, 301, 302]])
    with torch.no_grad():
        short = house.model.get_text_features(ids).pooler_output
        pad = torch.full((1, 4), 7)
        mask = [0] * 4 + [1] * 3 if side == "left" else [1] * 3 + [0] * 4
        longer = torch.cat([pad, ids] if side == "left" else [ids, pad], 1)
        place = {"position_ids": torch.tensor([[0] * 4 + [0, 1, 2]])} if side == "left" else {}
        padded = house.model.get_text_features(longer, torch.tensor([mask]), **place).pooler_output
    torch.testing.assert_close(padded, short, atol=1e-5, rtol=1e-4)


def test_pooling_of_ragged_items_is_that_of_each_alone():
    torch.manual_seed(0)
    pool = AttentionPool(6, 16, heads=4)
    grids = [(2, 3), (1, 1), (3, 3)]
    tokens = [torch.randn(rows * cols, 6) for rows, cols in grids]
    coords = [grid_coords(rows, cols) for rows, cols in grids]
    lengths = torch.tensor([len(one) for one in tokens])
    together = Features(torch.cat(tokens), lengths, torch.cat(coords))
    alone = [Features(t, torch.tensor([len(t)]), c) for t, c in zip(tokens, coords, strict=True)]
    torch.testing.assert_close(pool(together), torch.cat([pool(one) for one in alone]))
    torch.testing.assert_close(mean_of_items(together), torch.stack([one.mean(0) for one in tokens]))
    moved = Features(tokens[0].flip(0), torch.tensor([6]), coords[0])
    assert not torch.allclose(pool(moved), pool(alone[0]))  # it knows where things are
    with pytest.raises(ValueError, match="multiple of 8"):
        AttentionPool(6, 12)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = dual.nano(seed=5)
    assert torch.equal(torch.rand(1), expected)
    second = dual.nano(seed=5)
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value)


def test_records_become_pairs(house):
    image, text = pair_of(chat("what?", "a dog", "where?", "on the left"))
    assert text == "a dog on the left"
    group = Group(relation="pair", items=((image,), (Text(text="a cat"),)))
    assert pair_of(group) == (image, "a cat")
    encoded = house.encoder.encode(group)
    assert encoded.length == encoded.labelled == len(house.tokenizer("a cat")["input_ids"])
    same = house.encoder.encode(chat("else?", "a cat", seed=9))
    assert same.text_key == encoded.text_key and same.image_key != encoded.image_key
    for record, why in [
        (chat("what?", "a", images=2), "2 pictures"),
        (chat("what?", "a", images=0), "0 pictures"),
        (chat("what?"), "no text"),
        (Document(content=(Text(text="x"),)), "this is a document"),
        (Group(relation="before_after", items=((image,), (image,))), "relation 'before_after'"),
    ]:
        with pytest.raises(ValueError, match=why):
            pair_of(record)


def test_batches_keep_texts_and_mask_together(house):
    batch = batch_of(house)
    assert np.array_equal((batch["input_ids"] != house.pad_token_id).long(), batch["attention_mask"])
    assert batch["image_key"].unique().numel() == 4 and batch["text_key"].dtype == torch.int64


@pytest.mark.parametrize("field", ["vision_pooling", "text_pooling"])
def test_a_wrong_pooling_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 'middle'"):
        VitrailDualEncoderConfig(**{field: "middle"})
