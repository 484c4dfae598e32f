"""Tuning: as many trials for every arm, and no optimum at an edge unsaid."""

import math

import pytest

from vitrail.studies.arms import Arm
from vitrail.studies.tuning import EXTENSIONS, factors, first_trials, tune


def arms():
    return Arm("plain", {}), Arm("method", {}, grid={"model.x": (1, 2)})


def scorer(best, calls=None):
    """The nearer the factor to the arm's best one, the better."""

    def run(wanted):
        if calls is not None:
            calls.append(len(wanted))
        return [
            -abs(math.log(trial["factor"] / best[arm.name])) - 0.1 * (trial["settings"].get("model.x") == 2)
            for arm, trial in wanted
        ]

    return run


def test_factors():
    assert factors(1) == [1.0]
    assert factors(3) == pytest.approx([1 / 3, 1, 3])
    assert factors(5)[0] == pytest.approx(3**-1.5) and factors(5)[2] == pytest.approx(1)


def test_arms_have_equally_many_trials():
    found = first_trials(arms(), 3)
    assert [len(trials) for trials in found.values()] == [6, 6]
    assert {trial["settings"].get("model.x") for trial in found["method"]} == {1, 2}


def test_the_best_trial_is_taken():
    found = tune(arms(), 3, scorer({"plain": 1.0, "method": 1.0}))
    assert found["method"].settings == {"model.x": 1} and found["method"].factor == pytest.approx(1)
    assert not found["plain"].edge and not found["method"].edge


def test_an_edge_gives_every_arm_one_more():
    calls = []
    pair = (Arm("plain", {}), Arm("method", {}))
    found = tune(pair, 3, scorer({"plain": 1.0, "method": 3.0}, calls))
    assert calls == [6, 2] and not found["method"].edge
    assert found["method"].factor == pytest.approx(3)
    assert [len(one.trials) for one in found.values()] == [4, 4]


def test_an_optimum_that_stays_at_the_edge_is_said():
    pair = (Arm("plain", {}), Arm("method", {}))
    found = tune(pair, 3, scorer({"plain": 1.0, "method": 1000.0}))
    assert found["method"].edge and not found["plain"].edge
    assert len(found["method"].trials) == 3 + EXTENSIONS == len(found["plain"].trials)
    low = tune(pair, 3, scorer({"plain": 1.0, "method": 1e-4}))
    assert low["method"].edge and low["method"].factor == pytest.approx(1 / 27)


def test_of_equal_scores_the_recipe_s_own_rate_is_taken():
    found = tune((Arm("plain", {}),), 3, lambda wanted: [0.5] * len(wanted))
    assert found["plain"].factor == 1 and not found["plain"].edge
