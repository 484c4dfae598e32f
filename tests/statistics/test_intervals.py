import numpy as np
import pytest
from scipy import stats

from vitrail.statistics.intervals import clustered_bootstrap, mean_t, paired_difference, proportion, wilson


@pytest.mark.parametrize(
    "successes, n, low, high",
    [
        # R: prop.test(k, n, correct = FALSE)$conf.int, as in Newcombe (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("successes, n", [(0, 1), (1, 1), (3, 10), (50, 100), (999, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_against_scipy(successes, n, level):
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert wilson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_at_the_edges():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 5).low == 0.0 and wilson(5, 5).high == 1.0
    for bad in ((6, 5), (-1, 5)):
        with pytest.raises(ValueError, match="between 0 and n"):
            wilson(*bad)
    with pytest.raises(ValueError, match=r"level is 95"):
        wilson(1, 5, level=95)


def test_mean_t_against_students_sleep_data():
    # R: t.test(extra ~ group, data = sleep, paired = TRUE): mean 1.58, interval 0.7001 to 2.4599.
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = mean_t(second - first)
    assert (found.value, found.low, found.high) == pytest.approx((1.58, 0.7001142, 2.4598858), abs=1e-6)
    with pytest.raises(ValueError, match="at least 2 values"):
        mean_t([1.0])
    with pytest.raises(ValueError, match=r"value 1 is nan"):
        mean_t([1.0, float("nan")])


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_one_item_clusters_equal_scipys_plain_bootstrap(method):
    x = np.random.default_rng(0).exponential(size=40)
    ours = clustered_bootstrap(x, seed=1, method=method)
    theirs = stats.bootstrap(
        (x,), np.mean, n_resamples=9999, method=method, random_state=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.value == x.mean()


def test_the_bootstrap_draws_clusters_not_items():
    x = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    once = clustered_bootstrap(x, seed=0)
    copied = clustered_bootstrap(np.repeat(x, 4), np.repeat(np.arange(60), 4).tolist(), seed=0)
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))
    assert (copied.n, copied.clusters) == (240, 60)
    blind = clustered_bootstrap(np.repeat(x, 4), seed=0)
    assert blind.high - blind.low < 0.6 * (copied.high - copied.low)


def test_clusters_of_unequal_size_against_a_plain_loop():
    rng = np.random.default_rng(0)
    clusters = [f"p{c}" for c in range(30) for _ in range(1 + c % 9)]
    x = np.array([float(rng.random() < 0.2 + 0.7 * (int(c[1:]) % 9) / 9) for c in clusters])
    groups = [x[[c == name for c in clusters]] for name in dict.fromkeys(clusters)]
    means = []
    for _ in range(6000):
        means.append(np.concatenate([groups[i] for i in rng.integers(0, 30, 30)]).mean())
    found = clustered_bootstrap(x, clusters, seed=1, method="percentile")
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.008)


def test_the_bootstrap_is_repeatable_and_seeds_matter():
    x, clusters = np.random.default_rng(0).random(50), [f"p{i // 3}" for i in range(50)]
    assert clustered_bootstrap(x, clusters, seed=3) == clustered_bootstrap(x, clusters, seed=3)
    assert clustered_bootstrap(x, clusters, seed=3) != clustered_bootstrap(x, clusters, seed=4)


def test_the_bootstrap_at_the_edges():
    assert clustered_bootstrap([1.0, 1.0])[:3] == (1.0, 1.0, 1.0)
    assert clustered_bootstrap([1, 0, 1, 0], ["a", "a", "b", "b"])[:3] == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="at least 2 clusters, got 1 of 2"):
        clustered_bootstrap([1, 0], ["a", "a"])
    with pytest.raises(ValueError, match="2 values and 1 clusters"):
        clustered_bootstrap([1, 0], ["a"])
    with pytest.raises(ValueError, match="at least one number"):
        clustered_bootstrap([])


def test_proportion_never_claims_certainty():
    assert proportion([1, 1, 0, 0, 1])[1:3] == wilson(3, 5)
    right = proportion([1] * 12, ["a", "b", "c"] * 4)
    assert (right.value, right.low, right.high) == (1.0, wilson(3, 3).low, 1.0)
    lone = proportion([1, 0, 1], ["a", "a", "a"])
    assert lone.low < lone.value < lone.high and lone.high - lone.low > 0.7
    agreeing = proportion([1, 0, 1, 0], ["a", "a", "b", "b"])
    assert agreeing.low < 0.5 < agreeing.high
    with pytest.raises(ValueError, match="0 or 1"):
        proportion([0.5, 1])


def test_paired_difference():
    found = paired_difference([1, 1, 0, 1, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0, 1, 1], seed=0)
    assert found.value == 0.25 and found.low < 0.25 < found.high
    same = paired_difference([1, 0] * 10, [1, 0] * 10)
    assert same.value == 0 and -same.low == same.high == wilson(0, 20).high
    with pytest.raises(ValueError, match="3 and 2 were given"):
        paired_difference([1, 0, 1], [1, 0])


def _answers(rng, pictures, questions, p, spread):
    """Right and wrong answers whose chance of being right varies from picture to picture around ``p``."""
    chance = rng.beta(p * spread, (1 - p) * spread, pictures)
    return (rng.random((pictures, questions)) < chance[:, None]).astype(float)


@pytest.mark.parametrize("p", [0.4, 0.85])
def test_coverage_of_the_clustered_bootstrap(p):
    rng, hits, blind = np.random.default_rng(5), 0, 0
    clusters = np.repeat(np.arange(50), 4).tolist()
    trials = 250
    for trial in range(trials):
        x = _answers(rng, 50, 4, p, spread=1.0).ravel()
        found = clustered_bootstrap(x, clusters, seed=trial, resamples=599)
        hits += found.low <= p <= found.high
        low, high = wilson(int(x.sum()), len(x))
        blind += low <= p <= high
    assert 0.90 <= hits / trials <= 0.985
    assert blind / trials < 0.85


def test_coverage_of_paired_differences():
    rng, hits, trials = np.random.default_rng(6), 0, 250
    clusters = np.repeat(np.arange(40), 3).tolist()
    for trial in range(trials):
        chance = rng.beta(1, 1, 40)
        first = (rng.random((40, 3)) < chance[:, None]).ravel()
        second = (rng.random((40, 3)) < (chance * 0.7)[:, None]).ravel()
        found = clustered_bootstrap(first.astype(float) - second, clusters, seed=trial, resamples=599)
        hits += found.low <= 0.15 <= found.high
    assert 0.90 <= hits / trials <= 0.985
