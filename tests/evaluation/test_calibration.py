"""The calibration error on counts worked by hand, and the temperature that mends planted overconfidence."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.evaluation.calibration import best_temperature, confidence, equal_mass_bins, equal_mass_ece


def test_bins_hold_equally_many():
    assert equal_mass_bins(25, 10) == [3] * 5 + [2] * 5
    assert equal_mass_bins(3, 10) == [1, 1, 1]
    with pytest.raises(ValueError, match="both must be 1"):
        equal_mass_bins(0, 10)


def test_a_perfect_confidence_has_no_error():
    sure = [0.25] * 4 + [0.75] * 4
    right = [1, 0, 0, 0, 1, 1, 1, 0]
    assert equal_mass_ece(sure, right, 2) == 0.0
    assert equal_mass_ece([1.0] * 4, [0, 0, 0, 0], 2) == 1.0
    by_hand = 3 / 5 * abs(0.2 - 1 / 3) + 2 / 5 * abs(0.85 - 1 / 2)
    assert equal_mass_ece([0.1, 0.2, 0.3, 0.8, 0.9], [0, 1, 0, 1, 0], 2) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="give one for each"):
        equal_mass_ece([0.5], [1, 0])


def test_the_temperature_finds_what_was_planted():
    draws = np.random.default_rng(0)
    rows = []
    for _ in range(1500):
        honest = draws.normal(0, 1.5, 4)
        shares = np.exp(honest) / np.exp(honest).sum()
        answer = int(draws.choice(4, p=shares))
        values = (3.0 * honest).tolist()  # three times too sure
        rows.append({"values": values, "choice": int(np.argmax(values)), "answer": answer})
    assert best_temperature(rows) == pytest.approx(3.0, rel=0.1)
    right = [row["choice"] == row["answer"] for row in rows]
    before = equal_mass_ece([confidence(row) for row in rows], right)
    after = equal_mass_ece([confidence(row, 3.0) for row in rows], right)
    assert after < 0.05 < 0.1 < before
    with pytest.raises(ValueError, match="no row was ranked"):
        best_temperature([{"answer": 0}])
