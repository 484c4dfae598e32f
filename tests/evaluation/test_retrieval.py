"""Retrieval scores equal the mean over all orders of what is tied, and chance stays chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conftest import picture
from vitrail.data.records import Chat
from vitrail.evaluation.retrieval import direction, first_ranks, retrieval, retrieve


def by_all_orders(scores, right, k):
    """Recall and mean rank of one query, averaged over every order of equal scores."""
    orders = []
    for permuted in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(permuted)):
            orders.append(next(rank for rank, item in enumerate(permuted, 1) if right[item]))
    return np.mean([rank <= k for rank in orders]), np.mean(orders)


def test_ties_are_the_mean_over_all_orders():
    rng = np.random.default_rng(0)
    for _ in range(5):
        scores = rng.integers(0, 3, (2, 6)).astype(float)
        right = rng.random((2, 6)) < 0.4
        right[:, 0] = True
        found = direction(scores, right, depths=(1, 2, 5))
        for k in (1, 2, 5):
            expected = np.mean([by_all_orders(s, r, k)[0] for s, r in zip(scores, right, strict=True)])
            assert found.recall[k].value == pytest.approx(expected)
        ranks = [by_all_orders(s, r, 1)[1] for s, r in zip(scores, right, strict=True)]
        np.testing.assert_allclose(first_ranks(scores, right), ranks)
        assert found.median_rank == pytest.approx(np.median(ranks))


def test_a_model_that_says_nothing_is_at_chance():
    right = np.eye(20, dtype=bool)
    found = retrieval(np.ones((20, 20)), right)
    for one in (found.image_to_text, found.text_to_image):
        for k in (1, 5, 10):
            assert one.recall[k].value == pytest.approx(k / 20) == one.chance[k]
        assert one.median_rank == pytest.approx(10.5)


def test_perfect_scores_and_both_directions():
    right = np.zeros((3, 6), dtype=bool)
    for text in range(6):
        right[text // 2, text] = True
    found = retrieval(right.astype(float), right, depths=(1,))
    assert found.image_to_text.recall[1].value == 1 == found.text_to_image.recall[1].value
    assert found.image_to_text.gallery == 6 and found.text_to_image.queries == 6
    # Two of six texts are right for a picture, one of three pictures for a text.
    assert found.image_to_text.chance[1] == pytest.approx(1 / 3) == found.text_to_image.chance[1]
    # Captions of one picture are one cluster.
    assert found.text_to_image.recall[1].clusters == 3 and found.text_to_image.recall[1].n == 6
    scores = np.arange(18.0).reshape(3, 6)  # text 5 is the nearest to all, picture 2 to all
    lopsided = retrieval(scores, right, depths=(1,))
    assert lopsided.image_to_text.recall[1].value == pytest.approx(1 / 3)
    assert lopsided.text_to_image.recall[1].value == pytest.approx(1 / 3)


def test_intervals_hold_their_value_and_know_of_clusters():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(60, 60)) + 2 * np.eye(60)
    alone = direction(scores, np.eye(60, dtype=bool))
    tens = direction(scores, np.eye(60, dtype=bool), clusters=[i // 10 for i in range(60)])
    for found in (alone, tens):
        for one in found.recall.values():
            assert one.low <= one.value <= one.high
        assert found.median_interval[0] <= found.median_rank <= found.median_interval[1]
    assert tens.recall[1].clusters == 6 and alone.recall[1].clusters == 60
    assert alone.recall[1].value == tens.recall[1].value
    again = direction(scores, np.eye(60, dtype=bool), clusters=[i // 10 for i in range(60)])
    assert again == tens
    assert "R@1" in str(alone) and "median rank" in str(alone)


class Listed(list):
    """Records as a source."""

    name, root, fingerprint = "listed", None, "f" * 64


class Known:
    """A scorer that knows which text has the length of which picture's width."""

    def scores(self, images, texts):
        return np.array([[-abs(image.width - len(text)) for text in texts] for image in images], dtype=float)


def test_equal_pictures_and_texts_of_a_source_are_one():
    def pair(width, text):
        part = picture(width, (width, 20))
        return Chat(messages=[{"role": "user", "content": [part]}, {"role": "assistant", "content": text}])

    source = Listed([pair(20, "a" * 20), pair(30, "b" * 30), pair(20, "c" * 20), pair(40, "b" * 30)])
    found = retrieve(Known(), source, depths=(1,))
    assert found.image_to_text.queries == 3 == found.text_to_image.queries
    assert found.image_to_text.recall[1].value == 1 == found.text_to_image.recall[1].value
    source.append(Chat(messages=[{"role": "user", "content": "no picture"}]))
    with pytest.raises(ValueError, match="record 4 of listed: it has 0 pictures"):
        retrieve(Known(), source)


@pytest.mark.parametrize(
    ("scores", "right", "settings", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 2)), {}, "must both be"),
        (np.array([[1, np.nan], [1, 1]]), np.eye(2), {}, "query 0 and item 1 is nan"),
        (np.ones((2, 2)), np.array([[1, 0], [0, 0]]), {}, "query 1 has no right answer"),
        (np.ones((1, 2)), np.ones((1, 2)), {}, "2 or more"),
        (np.ones((2, 2)), np.eye(2), {"depths": (0,)}, "1 or more"),
    ],
)
def test_bad_input(scores, right, settings, message):
    with pytest.raises(ValueError, match=message):
        retrieval(scores, right.astype(bool), **settings)
