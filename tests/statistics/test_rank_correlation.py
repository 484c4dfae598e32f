"""Spearman's correlation of groups' means, and how often its interval is wrong."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from vitrail.statistics.rank_correlation import correlation_gain, rank_correlation, spearman


def rows(means, noise=0.0, seeds=3, seed=0):
    generator = np.random.default_rng(seed)
    return [(mean + noise * generator.normal(size=seeds)).tolist() for mean in means]


def test_it_is_scipys_value_ties_included():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 5, (2, 40, 10)).astype(float)
    found = spearman(x, y)
    for draw in range(40):
        assert found[draw] == pytest.approx(spearmanr(x[draw], y[draw]).statistic)
    assert np.isnan(spearman(np.ones((1, 4)), np.arange(4.0)[None]))[0]


def test_means_of_groups_count_not_their_seeds():
    means = np.arange(10.0)
    x, y = rows(means, 0.1), rows(means[::-1] ** 3, 0.1, seeds=5)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(-1) and found.high < -0.99
    assert (found.n, found.clusters) == (30, 10)


def test_equal_arguments_give_equal_intervals():
    x, y = rows(range(9), 3), rows(range(9), 3, seed=1)
    assert rank_correlation(x, y) == rank_correlation(x, y)
    assert rank_correlation(x, y, level=0.9).low > rank_correlation(x, y).low


def test_an_interval_of_no_correlation_covers_zero_as_often_as_it_says():
    """2.5 % at each end; 300 studies of 10 unrelated groups (a plain loop over them, seeds with noise)."""
    generator = np.random.default_rng(3)
    wrong = np.zeros(2)
    for _ in range(300):
        x, y = generator.normal(size=(2, 10, 1)) + 0.3 * generator.normal(size=(2, 10, 3))
        found = rank_correlation(x.tolist(), y.tolist(), resamples=800)
        wrong += found.low > 0, found.high < 0
    assert (wrong / 300 < 0.045).all() and wrong.sum() > 0


def test_how_far_one_figure_is_ahead_of_another():
    y = rows(range(12))
    close, apart = rows([-one for one in range(12)]), rows([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])
    ahead = correlation_gain(close, apart, y, (-1, 1))
    expected = 1 - spearmanr([row[0] for row in apart], range(12)).statistic
    assert ahead.value == pytest.approx(expected) and ahead.low > 0
    same = correlation_gain(close, close, y, (-1, -1))
    assert same[:3] == (0.0, 0.0, 0.0)
    assert correlation_gain(close, close, y, (-1, 1)).value == pytest.approx(2)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0]] * 4, "x has 4 groups; a rank correlation needs 5"),
        (rows(range(7)), "x has 7 groups and y has 6"),
        ([[1.0]] * 6, "x is the same for every group"),
        ([[float("nan")], *rows(range(5))], "x has a group without a figure"),
        ([[], *rows(range(5))], "x has a group without a figure"),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        rank_correlation(x, rows(range(6)))
