"""The scorer: one interface over vitrail's dual encoder, CLIP and SigLIP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as T

import dual_encoders
import families
from conftest import picture
from vitrail.models.experts.clip_scorer import ClipScorer
from vitrail.models.testbeds import dual

TEXTS = ["a cat", "two dogs on the left", "a red circle", "a very long text that is cut " * 9, "x"]


@pytest.fixture(scope="module", params=["ours", *dual_encoders.KINDS])
def folder(request, tmp_path_factory):
    """A saved dual encoder of each kind."""
    place = tmp_path_factory.mktemp(request.param) / "model"
    if request.param == "ours":
        dual.nano().save(place)
        return place
    dual_encoders.save(request.param, place)
    return place


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed, (20 + seed, 24)).open() for seed in range(5)]


def test_scores_are_the_models_own_cosines_whatever_the_batch(folder, pictures):
    scorer = ClipScorer.from_pretrained(folder)
    found = scorer.score_pairs(pictures, TEXTS)
    assert found.shape == (5,) and found.dtype == np.float64
    scorer.batch_size = 2
    scorer.model.train()
    np.testing.assert_allclose(scorer.score_pairs(pictures, TEXTS), found, atol=1e-5)
    assert scorer.model.training
    scorer.model.eval()
    fixed = T.SiglipModel is type(scorer.model)
    words = scorer.processor.tokenizer(
        TEXTS,
        padding="max_length" if fixed else True,
        truncation=True,
        max_length=scorer.max_length,
        return_tensors="pt",
    )
    inputs = {"input_ids": words["input_ids"]} if fixed else dict(words)
    pixels = scorer.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        output = scorer.model(
            pixel_values=pixels, **{k: v for k, v in inputs.items() if k != "token_type_ids"}
        )
    expected = (output.image_embeds * output.text_embeds).sum(-1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    every = scorer.scores(pictures, TEXTS)
    np.testing.assert_allclose(np.diag(every), found, atol=1e-5)
    assert not np.allclose(every, every[0])


def test_embeddings_are_unit_vectors_and_nothing_gives_none(folder, pictures):
    scorer = ClipScorer.from_config(ClipScorer.Config(path=str(folder), batch_size=3))
    for found in (scorer.embed_images(pictures), scorer.embed_texts(TEXTS)):
        assert found.shape == (5, scorer.dim) and found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert scorer.embed_images([]).shape == (0, scorer.dim) and len(scorer.score_pairs([], [])) == 0


def test_the_fingerprint_is_of_what_a_score_depends_on(folder):
    scorer, again = ClipScorer.from_pretrained(folder), ClipScorer.from_pretrained(folder, batch_size=1)
    assert scorer.fingerprint == again.fingerprint
    assert ClipScorer.from_pretrained(folder, max_length=5).fingerprint != scorer.fingerprint
    changed = ClipScorer.from_pretrained(folder)
    with torch.no_grad():
        next(changed.model.parameters()).add_(1e-3)
    assert changed.fingerprint != scorer.fingerprint


def test_what_cannot_be_scored(folder, pictures):
    scorer = ClipScorer.from_pretrained(folder)
    with pytest.raises(ValueError, match="4 pictures and 5 texts are no pairs"):
        scorer.score_pairs(pictures[:4], TEXTS)
    with pytest.raises(ValueError, match="give a list of texts"):
        scorer.embed_texts("a cat")
    with pytest.raises(ValueError, match="batch_size is 0"):
        ClipScorer(scorer.model, scorer.processor, batch_size=0)
    with pytest.raises(ValueError, match="needs a dual encoder"):
        ClipScorer(families.build("llava"), scorer.processor)
