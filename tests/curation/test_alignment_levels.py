"""Levels from scores, and scores from dual encoders."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import dual_encoders
from conftest import picture
from vitrail.curation.alignment_levels import assign_alignment_levels, score_pairs
from vitrail.models.experts.clip_scorer import ClipScorer


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


def test_scores_are_those_of_the_scorer():
    model, image_processor, tokenizer = dual_encoders.build("clip")
    processor = SimpleNamespace(image_processor=image_processor, tokenizer=tokenizer)
    pictures = [picture(seed, (20, 24)).open() for seed in range(5)]
    texts = ["a cat", "two dogs on the left", "a red circle", "a very long text that is cut " * 5, "x"]
    found = score_pairs(model, processor, pictures, texts, batch_size=2)
    expected = ClipScorer(model, processor).score_pairs(pictures, texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(score_pairs(model, processor, [], [])) == 0
    with pytest.raises(ValueError, match="4 pictures and 5 texts are no pairs"):
        score_pairs(model, processor, pictures[:4], texts)
