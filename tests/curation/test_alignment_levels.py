"""Levels from scores, and scores from dual encoders."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as T
from PIL import Image as PILImage
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import family_files
from vitrail.curation.alignment_levels import assign_alignment_levels, score_pairs


@pytest.mark.parametrize("count", [8, 9, 100, 1003])
def test_ranks_fill_levels_evenly_and_grow_with_the_score(count):
    scores = np.random.default_rng(0).normal(size=count).round(1)  # with ties
    levels = assign_alignment_levels(scores)
    sizes = np.bincount(levels, minlength=8)
    assert set(sizes) <= {count // 8, -(-count // 8)} and sizes.sum() == count
    order = np.argsort(scores, kind="stable")
    assert (np.diff(levels[order]) >= 0).all() and levels.min() == 0 and levels.max() == 7
    for value in set(scores):  # equal scores: in their order
        assert (np.diff(levels[scores == value]) >= 0).all()


def test_widths_cut_the_range():
    levels = assign_alignment_levels([0.1, 0.14, 0.16, 0.29, 0.3], 4, by="width")
    assert levels.tolist() == [0, 0, 1, 3, 3]


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ([0.1] * 7, {}, "7 scores cannot fill 8 levels"),
        ([0.1, float("nan"), 0.2], {"n_levels": 2}, "score 1 is nan"),
        ([0.1, 0.2], {"n_levels": 1}, "2 or more levels"),
        ([0.1, 0.1], {"n_levels": 2, "by": "width"}, "they have no width"),
        ([0.1, 0.2], {"n_levels": 2, "by": "size"}, "use 'rank' or 'width'"),
    ],
)
def test_scores_that_cannot_be(scores, settings, message):
    with pytest.raises(ValueError, match=message):
        assign_alignment_levels(scores, **settings)


def dual(kind):
    text = {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
    }
    vision = {**text, "image_size": 16, "patch_size": 4}
    del vision["vocab_size"], vision["max_position_embeddings"]
    tokenizer = family_files.tokenizer("qwen2_vl")
    torch.manual_seed(0)
    if kind == "clip":
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        config = T.CLIPConfig(
            text_config={**text, **ends, "projection_dim": 16},
            vision_config={**vision, "projection_dim": 16},
            projection_dim=16,
        )
        images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        return T.CLIPModel(config), SimpleNamespace(image_processor=images, tokenizer=tokenizer)
    tokenizer.model_input_names = ["input_ids"]
    config = T.SiglipConfig(text_config={**text, "projection_size": 32}, vision_config=vision)
    images = SiglipImageProcessorPil(size={"height": 16, "width": 16})
    return T.SiglipModel(config), SimpleNamespace(image_processor=images, tokenizer=tokenizer)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_scores_are_the_models_own_cosines_whatever_the_batch(kind):
    model, processor = dual(kind)
    model.train()
    rng = np.random.default_rng(0)
    pictures = [PILImage.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(5)]
    texts = ["a cat", "two dogs on the left", "a red circle", "a very long text that is cut " * 5, "x"]
    found = score_pairs(model, processor, pictures, texts)
    assert model.training and found.shape == (5,)
    np.testing.assert_allclose(score_pairs(model, processor, pictures, texts, batch_size=2), found, atol=1e-5)
    model.eval()
    words = processor.tokenizer(
        texts,
        padding=True if kind == "clip" else "max_length",
        truncation=True,
        max_length=16,
        return_tensors="pt",
    )
    inputs = {"input_ids": words["input_ids"]}
    if kind == "clip":
        inputs["attention_mask"] = words["attention_mask"]
    pixels = processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        output = model(**inputs, pixel_values=pixels)
    expected = (output.image_embeds * output.text_embeds).sum(-1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(score_pairs(model, processor, [], [])) == 0
    with pytest.raises(ValueError, match="4 pictures and 5 texts are no pairs"):
        score_pairs(model, processor, pictures[:4], texts)
