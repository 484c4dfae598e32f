"""The curve and its area, against counting pairs and against a bootstrap of clusters."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.statistics.roc import auc, best_balanced_accuracy, roc_curve, tpr_at_fpr


def counted(x, y):
    """The share of pairs in order, ties a half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in x[y] for b in x[~y]]
    return float(np.mean(pairs))


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    for _ in range(5):
        y = rng.random(60) < 0.4
        x = np.round(rng.normal(size=60) + y, 1)
        found = auc(x, y)
        assert found.value == pytest.approx(counted(x, y))
        false, true = roc_curve(x, y)
        area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
        assert area == pytest.approx(found.value) and (false[-1], true[-1]) == (1, 1)
        assert found.low < found.value < found.high


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(1)
    y = np.repeat(rng.random(40) < 0.5, 5)
    x = np.repeat(rng.normal(size=40), 5) + y
    alone, together = auc(x, y), auc(x, y, np.repeat(np.arange(40), 5))
    assert together.value == alone.value and together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        y = np.arange(80) < 40
        found = auc(rng.normal(size=80) + 1.0 * y, y)
        inside += found.low <= 0.7602 <= found.high  # Φ(1 / √2)
    assert 180 <= inside <= 198


def test_rates():
    y = [1, 1, 1, 0, 0, 0]
    assert best_balanced_accuracy([6, 5, 1, 4, 3, 2], y) == pytest.approx(5 / 6)
    assert tpr_at_fpr([6, 5, 1, 4, 3, 2], y) == pytest.approx(2 / 3)
    whole = auc([6, 5, 4, 3, 2, 1], y)
    assert (whole.value, whole.high) == (1, 1) and whole.low == pytest.approx(0.025 ** (1 / 3)), (
        "few pairs prove little"
    )
    assert auc([1] * 6, y).value == 0.5 and best_balanced_accuracy([1] * 6, y) == 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([1, 2], [1, 1], "both classes"),
        ([1, float("nan")], [1, 0], "not finite"),
        ([1, 2, 3], [1, 0], "one each"),
        ([1, 2], [2, 0], "must be 1"),
    ],
)
def test_bad_input(scores, labels, words):
    with pytest.raises(ValueError, match=words):
        auc(scores, labels)
