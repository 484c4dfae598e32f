"""How different texts are from each other."""

import numpy as np
import pytest

from vitrail.analysis.diversity import distinct_ngram_ratio, vendi_score


@pytest.mark.parametrize("n", [1, 2, 7])
def test_alike_is_one_and_orthogonal_is_as_many(n):
    assert vendi_score(np.tile([[3.0, 4.0, 0.0]], (n, 1))) == pytest.approx(1)
    assert vendi_score(np.eye(n) * 5) == pytest.approx(n)
    assert vendi_score(np.concatenate([np.eye(n), np.eye(n)])) == pytest.approx(n)


def test_both_grams_say_the_same_and_order_does_not_matter():
    rows = np.random.default_rng(0).normal(size=(40, 6))
    wide = np.concatenate([rows, np.zeros((40, 60))], axis=1)
    assert vendi_score(rows) == pytest.approx(vendi_score(wide)) == pytest.approx(vendi_score(rows[::-1]))
    assert 1 < vendi_score(rows) < 6


def test_batches_are_averaged():
    rows = np.concatenate([np.tile([[1.0, 0, 0]], (3, 1)), np.eye(3)])
    assert vendi_score(rows, batch=3) == pytest.approx((1 + 3) / 2)


def test_distinct_ngrams():
    assert distinct_ngram_ratio(["a b a b", "a b"], 1) == 2 / 6
    assert distinct_ngram_ratio(["a b a b", "a b"], 2) == 2 / 4
    assert distinct_ngram_ratio(["a b", ""], 3) == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((0, 3)), "one item at least"),
        (np.ones(3), "one row an item"),
        (np.array([[1.0, 0], [0, 0]]), "embedding 1 is zero or not finite"),
        (np.array([[np.nan, 0]]), "embedding 0 is zero or not finite"),
    ],
)
def test_what_cannot_be_measured(rows, said):
    with pytest.raises(ValueError, match=said):
        vendi_score(rows)
    with pytest.raises(ValueError, match="n is 0"):
        distinct_ngram_ratio(["a"], 0)
