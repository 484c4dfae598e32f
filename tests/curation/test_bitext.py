"""Mining of translations: the margin by hand, both directions, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.curation.bitext import Mined, cosines, f1, filter_corpus, margin_score, mine


def test_orthonormal_sentences_have_a_margin_of_one_to_themselves():
    x = np.eye(4)
    assert np.array_equal(margin_score(x, x, k=1), np.eye(4))


def test_the_margin_is_the_cosine_against_its_neighbours():
    rng = np.random.default_rng(0)
    x, y, k = rng.normal(size=(5, 8)), rng.normal(size=(7, 8)), 3
    found, cosine = margin_score(x, y, k), cosines(x, y)
    for row in range(5):
        for column in range(7):
            forward = sorted(cosine[row])[-k:]
            backward = sorted(cosine[:, column])[-k:]
            wanted = cosine[row, column] / (sum(forward) / (2 * k) + sum(backward) / (2 * k))
            assert found[row, column] == pytest.approx(wanted)
    np.testing.assert_allclose(margin_score(y, x, k), found.T)
    np.testing.assert_allclose(margin_score(3 * x, y, k), found)


def test_mined_pairs_are_the_right_ones_and_none_is_there_twice():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 16))
    order = rng.permutation(12)
    y = (x + 0.1 * rng.normal(size=x.shape))[order]
    gold = {(int(source), place) for place, source in enumerate(order)}
    found = mine(x, y)
    assert f1(found, gold) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    cut = mine(x, y, threshold=found[5].score)
    assert cut == found[:6] and f1(cut, gold)["recall"] == 0.5
    crowded = mine(x[:6], np.concatenate([x[:5], x[:5]]), k=2, one_to_one=False)
    assert len(crowded) > len({one.source for one in crowded})
    assert f1([Mined(0, 5, 1.0)], gold | {(99, 99)})["f1"] in (0.0, pytest.approx(2 / 14))


def test_the_best_of_a_noisy_corpus_are_kept():
    assert filter_corpus([0.1, 0.9, 0.5, 0.9], 3) == [1, 3, 2]
    with pytest.raises(ValueError, match="top_n is 5 of 4"):
        filter_corpus([0.1] * 4, 5)
    with pytest.raises(ValueError, match="pair 1 is no number"):
        filter_corpus([0.1, float("nan")], 1)


def test_what_has_no_direction_or_no_neighbours_is_refused():
    with pytest.raises(ValueError, match="vector of target 1 is zero"):
        margin_score(np.eye(3), np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]]), k=1)
    with pytest.raises(ValueError, match="k is 4, and there are 3 and 3"):
        margin_score(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="no gold pairs"):
        f1([], set())
