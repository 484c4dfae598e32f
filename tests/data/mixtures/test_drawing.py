import numpy as np
import pytest

from vitrail.data.mixtures.drawing import Draws, MixtureDataset, Pool, round_counts, shares


def test_a_pool_reads_every_record_before_any_comes_again():
    pool, other = Pool(5, seed=1), Pool(5, seed=1)
    drawn = pool.take(13).tolist()
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == list(range(5)) and drawn[:5] != drawn[5:10]
    assert [int(other.take(1)[0]) for _ in range(13)] == drawn
    assert Pool(5, seed=2).take(5).tolist() != drawn[:5] or Pool(5, seed=3).take(5).tolist() != drawn[:5]


def test_running_draws_stay_within_a_record_of_their_shares():
    p, counts = np.array([0.67, 0.15, 0.135, 0.045]), np.zeros(4)
    draws = Draws([50, 50, 50, 50], seed=0)
    for drawn in range(1, 400):
        counts[int(draws.running(1, p)[0]) // 50] += 1
        assert np.abs(counts - p * drawn).max() <= 1.0 + 1e-9
    assert np.array_equal(counts, draws.drawn)


def test_draws_counted_in_tokens_stay_within_a_document():
    rng = np.random.default_rng(0)
    lengths = np.concatenate([rng.integers(5, 20, 40), rng.integers(200, 400, 40), rng.integers(1, 900, 40)])
    p, draws, tokens = np.array([0.5, 0.3, 0.2]), Draws([40, 40, 40], 0, "tokens", lengths), np.zeros(3)
    for record in draws.running(600, p):
        tokens[record // 40] += lengths[record]
    assert np.abs(tokens - p * tokens.sum()).max() <= lengths.max()
    assert np.abs(tokens / tokens.sum() - p).max() < 0.02
    with pytest.raises(ValueError, match="needs the tokens of every record"):
        Draws([40, 40, 40], 0, "tokens", lengths[:5])


def test_rounds_have_whole_counts_with_the_rest_at_the_last():
    assert round_counts(10, [0.25, 0.25, 0.5]).tolist() == [2, 2, 6]
    assert round_counts(10, [0.3, 0.7, 0.0]).tolist() == [3, 7, 0]
    p = shares(np.random.default_rng(0).random(7))
    for n in (1, 7, 100, 1001):
        counts = round_counts(n, p)
        assert counts.sum() == n and np.array_equal(counts[:-1], np.floor(p * n)[:-1])
    drawn = Draws([30, 30], seed=0).round(20, np.array([0.25, 0.75]))
    assert sum(record < 30 for record in drawn) == 5 and sorted(drawn.tolist()) != drawn.tolist()


def test_temperature_makes_shares_more_even():
    assert shares([1, 3]) == pytest.approx([0.25, 0.75])
    assert shares([1, 9], temperature=2) == pytest.approx([0.25, 0.75])
    assert shares([0, 1, 1e300], temperature=1e9)[1:] == pytest.approx([0.5, 0.5])
    assert shares([0, 1])[0] == 0


@pytest.mark.parametrize(
    "weights, message",
    [([1, -1], "share of source 1 is -1.0"), ([0, 0], "no source"), ([float("nan")], "nan")],
)
def test_shares_that_are_none_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        shares(weights)


def test_a_dataset_of_pools_is_drawn_by_the_floor_rule():
    dataset = MixtureDataset({"a": ["a0", "a1"], "b": [{"image": number} for number in range(9)], "c": []})
    drawn = dataset.draw(9, [0.5, 0.5, 0.0], seed=3)
    assert [name for name, _ in drawn].count("a") == 4 and len(drawn) == 9
    assert [record for name, record in drawn if name == "a"].count("a0") == 2
    assert drawn == dataset.draw(9, [0.5, 0.5, 0.0], seed=3) != dataset.draw(9, [0.5, 0.5, 0.0], seed=4)
    with pytest.raises(ValueError, match="pool 'c' is empty"):
        dataset.draw(9, [0.4, 0.4, 0.2], seed=3)
    with pytest.raises(ValueError, match="2 shares for 3 pools"):
        dataset.draw(9, [0.4, 0.4], seed=3)
