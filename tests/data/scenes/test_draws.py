from collections import Counter

import numpy as np
import pytest

from vitrail.data.scenes.draws import Draws

PINNED_INTEGERS = [183, 778, 649, 968]
PINNED_UNIFORM = 0.1312662942375039
PINNED_SHUFFLE = ["a", "e", "b", "c", "d", "f"]
PINNED_BYTES = [[240, 49, 211], [64, 3, 229]]


def test_pinned_for_ever():
    # Philox's stream and our use of it must never change: frozen suites hang on these numbers.
    draws = Draws("pinned", 1)
    assert [draws.integer(0, 999) for _ in range(4)] == PINNED_INTEGERS
    assert draws.uniform() == PINNED_UNIFORM
    assert draws.shuffled("abcdef") == PINNED_SHUFFLE
    assert draws.bytes(2, 3).tolist() == PINNED_BYTES


def test_keys_are_told_apart():
    keys = [("a", 1), ("a", 2), ("a", "1"), ("a1",), ("b", 1), ("a", 1, 0)]
    assert len({Draws(*key).integer(0, 2**60) for key in keys}) == len(keys)
    assert Draws("a", 1).integer(0, 2**60) == Draws("a", 1).integer(0, 2**60)


def test_draws_are_even():
    draws = Draws("even")
    counts = Counter(draws.integer(3, 6) for _ in range(8000))
    assert set(counts) == {3, 4, 5, 6} and min(counts.values()) > 1850
    assert 0.48 < np.mean([draws.uniform() for _ in range(4000)]) < 0.52
    firsts = Counter(draws.sample("abcd", 2)[0] for _ in range(4000))
    assert min(firsts.values()) > 880
    assert 0.27 < np.mean([draws.chance(0.3) for _ in range(4000)]) < 0.33
    chosen = Counter(draws.weighted({"x": 1, "y": 3, "z": 0}) for _ in range(4000))
    assert 0.22 < chosen["x"] / 4000 < 0.28 and "z" not in chosen


def test_samples_hold_each_once():
    assert sorted(Draws("s").shuffled(range(50))) == list(range(50))
    with pytest.raises(ValueError, match="cannot draw 3 different ones of 2"):
        Draws("s").sample("ab", 3)
    with pytest.raises(ValueError, match="no weight is above 0"):
        Draws("s").weighted({"a": 0.0})
    with pytest.raises(ValueError, match="between 3 and 2"):
        Draws("s").integer(3, 2)
