"""Weaknesses of one dimension: the rule by hand, and by simulation of whole studies."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from vitrail.statistics.isolation import Isolation, isolated, largest_p, one_sided

STUDIES = 600
MOST = 28  # 2.5 % of 600 is 15; a right rule gives more than 28 once in a thousand times
DELTA, NAMES = 0.1, ("what", "kind", "colour")
RULE = Isolation(DELTA, len(NAMES))


def study(rng, lost, moved=0.0, n=12, sd=0.05):
    """What three arms lost: ``lost`` of their own, ``moved`` of the next dimension; all of them vary together a bit."""
    arms = {}
    for place, own in enumerate(NAMES):
        shared = rng.normal(0, sd / 2, n)
        true = [lost if at == place else moved if at == (place + 1) % 3 else 0.0 for at in range(3)]
        arms[own] = {
            name: list(mean + shared + rng.normal(0, sd, n)) for name, mean in zip(NAMES, true, strict=True)
        }
    return arms


def verdicts(lost, moved=0.0, studies=STUDIES, seed=0, **settings):
    """How many studies have any arm with a verdict, by verdict."""
    rng = np.random.default_rng(seed)
    found = [
        {one.decision.verdict for one in isolated(study(rng, lost, moved, **settings), RULE).values()}
        for _ in range(studies)
    ]
    return {verdict: sum(verdict in one for one in found) for verdict in ("seen", "not seen", "undecided")}


@pytest.mark.parametrize(("lost", "moved"), [(0.0, 0.0), (0.4, DELTA), (0.4, -DELTA), (0.0, DELTA)])
def test_of_studies_without_an_isolated_weakness_few_have_one_that_is_seen(lost, moved):
    """Nothing falls, or something else moves by δ, too: any of three arms seen in 2.5 % of studies at most."""
    assert verdicts(lost, moved)["seen"] <= MOST


@pytest.mark.parametrize("moved", [0.0, DELTA])
def test_of_studies_whose_weaknesses_matter_few_are_not_seen(moved):
    """A fall of δ, and moves of at most δ: seldom denied."""
    assert verdicts(DELTA, moved, studies=300)["not seen"] <= MOST


def test_a_clear_weakness_is_seen_and_a_spreading_one_is_not():
    assert verdicts(0.3, studies=50)["seen"] == 50
    found = verdicts(0.3, moved=0.3, studies=50)
    assert found["seen"] == 0 and found["not seen"] == 50


def test_the_rule_by_hand():
    still, fall = (
        [0.01, -0.01, 0.0, 0.02, -0.02, 0.01, 0.0, -0.01],
        [0.3, 0.32, 0.28, 0.31, 0.29, 0.3, 0.33, 0.3],
    )
    both = {"what": {"what": fall, "kind": still}, "kind": {"what": still, "kind": still}}
    found = isolated(both, Isolation(DELTA, 2))
    assert found["what"].decision.verdict == "seen" and found["kind"].decision.verdict == "not seen"
    assert found["what"].p == pytest.approx(2 * largest_p("what", both["what"], DELTA))
    assert found["what"].moves["what"].level == pytest.approx(0.975)
    spread = {"what": {"what": fall, "kind": fall}}
    decision = isolated(spread, Isolation(DELTA, 1))["what"].decision
    assert decision.verdict == "not seen" and "kind moved as well" in decision.why
    loud = {"what": {"what": fall, "kind": [0.3, -0.3, 0.2, -0.2, 0.3, -0.3, 0.2, -0.2]}}
    decision = isolated(loud, Isolation(DELTA, 1))["what"].decision
    assert decision.verdict == "undecided" and "not sure that kind stayed" in decision.why


def test_a_fall_that_is_sure_but_small_is_none():
    small = [0.04, 0.05, 0.06, 0.05, 0.04, 0.06, 0.05, 0.05]
    decision = isolated({"a": {"a": small, "b": [0.0] * 8}}, Isolation(DELTA, 1))["a"].decision
    assert decision.verdict == "not seen" and "falls by less than 0.1" in decision.why


def test_one_sided_is_students():
    values = [0.1, 0.3, 0.2, 0.25]
    assert one_sided(values, 0.15) == pytest.approx(ttest_1samp(values, 0.15, alternative="greater").pvalue)
    assert one_sided([0.2] * 8, 0.1) == 0.0 and one_sided([0.1] * 8, 0.1) == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Isolation(0.0, 2), "delta is 0.0"),
        (lambda: Isolation(0.1, 0), "arms is 0"),
        (lambda: isolated({"a": {"b": [0.0] * 8, "c": [0.0] * 8}}, RULE), "its own one of them"),
        (lambda: isolated({"a": {"a": [0.0] * 8}}, RULE), "two dimensions at least"),
    ],
)
def test_what_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
