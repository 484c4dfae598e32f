import numpy as np
import pytest

from vitrail.statistics.paired import holm, mcnemar, sign_flips


def _answers(both, only_first, only_second, neither):
    first = [1] * both + [1] * only_first + [0] * only_second + [0] * neither
    second = [1] * both + [0] * only_first + [1] * only_second + [0] * neither
    return first, second


@pytest.mark.parametrize(
    "only_first, only_second, p",
    [
        (6, 0, 0.03125),  # 2 / 2**6
        (1, 7, 0.0703125),  # 2 * (1 + 8) / 2**8
        (5, 5, 1.0),
        (0, 0, 1.0),
        (15, 5, 0.041389465332),  # statsmodels: mcnemar([[10, 15], [5, 10]], exact=True).pvalue
    ],
)
def test_mcnemar_against_known_values(only_first, only_second, p):
    found = mcnemar(*_answers(10, only_first, only_second, 10))
    assert found[:2] == (only_first, only_second)
    assert found.p == pytest.approx(p, abs=1e-9)


def test_mcnemar_takes_truth_values_and_refuses_others():
    assert mcnemar(np.array([True, False]), [0, 0]).only_first == 1
    with pytest.raises(ValueError, match="right"):
        mcnemar([0.5], [1])
    with pytest.raises(ValueError, match="same items"):
        mcnemar([1, 0], [1])


def test_mcnemar_keeps_its_level_under_no_difference():
    rng = np.random.default_rng(0)
    trials = [mcnemar(rng.random(60) < 0.5, rng.random(60) < 0.5).p <= 0.05 for _ in range(400)]
    assert np.mean(trials) <= 0.06


def test_holm_against_known_values():
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and p.adjust(c(0.04, 0.001, 0.03), "holm").
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


def test_sign_flips_are_mcnemar_s_test_where_items_are_single():
    for only_first, only_second in ((15, 5), (3, 0), (40, 40)):
        a, b = _answers(10, only_first, only_second, 10)
        assert sign_flips(a, b) == mcnemar(a, b).p
    assert sign_flips([1, 0], [1, 0]) == 1.0 and sign_flips([], []) == 1.0


def test_sign_flips_go_over_whole_clusters():
    a, b = [1.0] * 20 + [1, 0], [0.0] * 20 + [0, 1]
    # Differences 20, 1, -1: with other signs the sum is 22, 20, 20 or 18 on either side.
    assert sign_flips(a, b, [0] * 20 + [1, 2]) == 3 / 4
    assert sign_flips(a, b) < 1e-3
    # By hand, of differences 3, 1, -1, 2: |sum| is 5 or 7 for 6 of 16 ways to set their signs.
    assert sign_flips([3, 1, 0, 2], [0, 0, 1, 0], "abcd") == 6 / 16


def test_many_sign_flips_keep_their_level_and_repeat():
    rng = np.random.default_rng(1)
    found = [sign_flips(rng.normal(size=30), rng.normal(size=30)) <= 0.05 for _ in range(100)]
    assert np.mean(found) <= 0.1
    a, b = rng.normal(size=30), rng.normal(1, size=30)
    assert sign_flips(a, b) == sign_flips(a, b) < 0.05
    assert sign_flips(a + 3, a) == 1 / 10000


def test_sign_flips_refuse_unlike_lengths():
    with pytest.raises(ValueError, match="same items"):
        sign_flips([1], [1, 0])
    with pytest.raises(ValueError, match="one cluster for each"):
        sign_flips([1], [0], "ab")
