"""The rule, by hand and by simulation of whole studies."""

import math

import numpy as np
import pytest

from vitrail.statistics.crossed import crossed_difference
from vitrail.statistics.intervals import Estimate, mean_t
from vitrail.statistics.power import FEWEST, detectable, noise, power, seeds_needed
from vitrail.statistics.verdicts import Rule, both, decide, not_testable

STUDIES = 2000
MOST = 73  # 2.5 % of 2,000 is 50; a right rule gives more than 73 once in a thousand times


def interval(low, high):
    return Estimate((low + high) / 2, low, high, 8, 8)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "harm"),
    [
        (0.01, 0.09, "seen", False),
        (-0.01, 0.09, "undecided", False),
        (-0.02, 0.01, "not seen", False),
        (0.001, 0.01, "not seen", False),  # better for sure, but by less than matters
        (-0.09, -0.01, "not seen", True),
        (0.0, 0.02, "undecided", False),  # δ itself is still possible, and so is 0
    ],
)
def test_superiority(low, high, verdict, harm):
    found = decide(interval(low, high), Rule("superiority", 0.02))
    assert (found.verdict, found.harm) == (verdict, harm)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.01, 0.01, "seen"), (-0.03, 0.01, "undecided"), (-0.05, -0.03, "not seen"), (-0.015, -0.005, "seen")],
)
def test_non_inferiority(low, high, verdict):
    assert decide(interval(low, high), Rule("non-inferiority", 0.02)).verdict == verdict


def test_ratio_and_exactness():
    rule = Rule("ratio", 0.25)
    assert rule.unseen_below == pytest.approx(math.log(1.25))
    assert decide(interval(math.log(1.1), math.log(1.6)), rule).verdict == "seen"
    assert decide(interval(math.log(1.05), math.log(1.2)), rule).verdict == "not seen"
    exact = Rule("exactness", 0.0)
    assert decide(interval(1e-6, 1e-6), exact).verdict == "seen"
    assert decide(interval(-1e-3, -1e-3), exact).verdict == "not seen"
    assert not decide(interval(-1e-3, -1e-3), exact).harm


def test_parts_of_a_claim():
    seen, open_, unseen = (
        decide(interval(*ends), Rule("superiority", 0.02))
        for ends in ((0.01, 0.09), (-0.01, 0.09), (-0.02, 0.01))
    )
    assert both([seen, seen]) == "seen"
    assert both([seen, open_]) == "undecided"
    assert both([open_, unseen]) == "not seen"
    assert both([seen, not_testable("the control is at the floor")]) == "not testable here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("superiority", 0.0), "delta is 0"),
        (("superiority", math.nan), "delta is nan"),
        (("better", 0.1), "kind is 'better'"),
        (("ratio", 0.1, 0.3), "level is 0.3"),
    ],
)
def test_a_rule_that_is_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rule(*arguments)


def test_levels_must_agree():
    with pytest.raises(ValueError, match=r"level 0\.9, the rule asks for 0\.95"):
        decide(Estimate(0, -1, 1, 8, 8, 0.9), Rule("superiority", 0.1))


# Simulated studies: each seed trains two models (independent initialisation) and asks both about scenes of its own.

QUESTIONS, BETWEEN_RUNS, DELTA = 300, 0.03, 0.03


def study(generator, effect, seeds=FEWEST):
    """Differences of a study's seeds: training noise of both runs, and the items' own chance."""
    skill = 0.55 + generator.normal(0, 0.05, seeds)  # a seed's scenes are easier or harder for both
    scores = []
    for gain in (effect, 0.0):
        level = np.clip(skill + gain + generator.normal(0, BETWEEN_RUNS, seeds), 0, 1)
        scores.append(generator.binomial(QUESTIONS, level) / QUESTIONS)
    return scores[0] - scores[1]


def verdicts(effect, seed):
    generator = np.random.default_rng(seed)
    rule = Rule("superiority", DELTA)
    found = [decide(mean_t(study(generator, effect)), rule).verdict for _ in range(STUDIES)]
    return {verdict: found.count(verdict) for verdict in ("seen", "not seen", "undecided")}


def test_of_studies_without_an_effect_few_see_one():
    assert 10 <= verdicts(0.0, 1)["seen"] <= MOST


def test_of_studies_with_an_effect_of_delta_few_miss_it():
    assert 10 <= verdicts(DELTA, 2)["not seen"] <= MOST


def test_the_interval_covers():
    generator = np.random.default_rng(3)
    for effect in (0.0, DELTA):
        found = [mean_t(study(generator, effect)) for _ in range(STUDIES)]
        covered = sum(one.low <= effect <= one.high for one in found)
        assert abs(covered / STUDIES - 0.95) < 0.016  # three standard errors


def test_power_is_as_stated():
    generator = np.random.default_rng(4)
    for n, sd, effect in ((8, 0.04, 0.05), (12, 0.05, 0.03), (20, 0.02, 0.01)):
        draws = generator.normal(effect, sd, (20_000, n))
        seen = np.mean([mean_t(row).low > 0 for row in draws[:STUDIES]])
        assert abs(seen - power(n, sd, effect)) < 0.034


def test_seeds_needed_is_the_smallest_number():
    n = seeds_needed(0.05, 0.03)
    assert n is not None and n > FEWEST
    assert power(n, 0.05, 0.03) >= 0.8 > power(n - 1, 0.05, 0.03)
    assert seeds_needed(0.001, 0.03) == FEWEST
    assert seeds_needed(1.0, 0.03) is None
    assert power(n, 0.05, detectable(n, 0.05)) == pytest.approx(0.8, abs=1e-6)
    assert power(8, 0.0001, 1.0) == 1.0


def test_noise_of_equal_recipes():
    generator = np.random.default_rng(5)
    first, second = generator.normal(0.5, 0.03, (2, 4000))
    assert noise(first, second) == pytest.approx(0.03 * math.sqrt(2), rel=0.03)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        noise([0.1], [0.2])


# The same items for every seed, as for a user's own test file.


def crossed(generator, effect, seeds=24, items=120):
    """Answers (seeds, items) of two arms: seeds, items and arms each have their own chance."""
    item = generator.normal(0, 0.8, items)
    gain = generator.normal(0, 1.5, items)  # the method helps some items and harms others
    tables = []
    for arm in (1, 0):
        run = generator.normal(0, 0.05, (seeds, 1))
        logit = 0.3 + item + run + arm * (gain + effect)
        tables.append((generator.random((seeds, items)) < 1 / (1 + np.exp(-logit))).astype(float))
    return tables


def test_an_interval_over_the_same_items_keeps_its_level():
    generator = np.random.default_rng(6)
    seen = seeds_only = 0
    for _ in range(STUDIES):
        one, two = crossed(generator, 0.0)
        seen += crossed_difference(one, two).low > 0
        seeds_only += mean_t((one - two).mean(1)).low > 0
    assert seen <= MOST
    assert seeds_only > 1.5 * MOST  # what happens when items count as fixed


def test_crossed_by_hand():
    one, two = [[1, 0, 1, 1], [1, 1, 1, 0]], [[0, 0, 1, 1], [0, 1, 1, 1]]
    found = crossed_difference(one, two)
    d = np.array([[1, 0, 0, 0], [1, 0, 0, -1]]) - 1 / 8
    by_seed = (d.sum(1) ** 2).sum() / 64 * 2
    by_item = (d.sum(0) ** 2).sum() / 64 * 4 / 3
    each = (d**2).sum() / 64
    assert found.value == 1 / 8
    half = 12.706204736 * math.sqrt(max(by_seed + by_item - each, by_seed, by_item))
    assert found.high - found.value == pytest.approx(half)
    pairs = crossed_difference(one, two, clusters=["a", "a", "b", "b"])
    assert pairs.clusters == 2 and pairs.value == found.value


@pytest.mark.parametrize(
    ("one", "two", "clusters", "message"),
    [
        ([[1.0]], [[1.0, 0.0]], None, "one shape"),
        ([[1.0, 0.0]], [[1.0, 0.0]], None, "at least 2 seeds"),
        ([[1.0, math.nan]] * 2, [[1.0, 0.0]] * 2, None, "finite"),
        ([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2, ["a"], "one cluster for each item"),
    ],
)
def test_tables_that_are_no_pairs(one, two, clusters, message):
    with pytest.raises(ValueError, match=message):
        crossed_difference(one, two, clusters)
