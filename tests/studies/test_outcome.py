"""From cells to verdicts: gates, pairs, costs."""

import numpy as np
import pytest

from vitrail.recipes.loading import load, plain
from vitrail.statistics.crossed import crossed_difference
from vitrail.studies import outcome
from vitrail.studies.arms import Arm, changed
from vitrail.studies.design import Cost, Design, Figure


@pytest.fixture(scope="module")
def base():
    return plain(load("nano"))


def design(base, **settings):
    settings = {"delta": 0.05, **settings}
    return Design("d", Arm("control", base), (Arm("method", base),), evaluation="known", **settings)


def cells(scores, chance=0.25, flops=100.0, values=None, ids=("a", "b", "c", "d")):
    return [
        {
            "arm": "x",
            "draw": draw,
            "seed": draw,
            "score": score,
            "unit": "share right",
            "chance": chance,
            "by_kind": {"what": {"score": score, "n": 4}},
            "values": list(values[draw - 1]) if values is not None else [score] * 4,
            "ids": list(ids),
            "clusters": list(ids),
            "flops": flops,
        }
        for draw, score in enumerate(scores, 1)
    ]


def noisy(mean, seed, n=8, sd=0.01):
    return (mean + np.random.default_rng(seed).normal(0, sd, n)).tolist()


def test_seen(base):
    found = outcome.contrast(design(base), "method", cells(noisy(0.5, 1)), cells(noisy(0.6, 2)), [])
    assert found["verdict"] == "seen" and found["n"] == 8 and not found["why"]
    assert found["interval"][0] < found["effect"] < found["interval"][1]
    assert found["effect"] == pytest.approx(np.mean(found["differences"]))


def test_harm_is_said(base):
    found = outcome.contrast(design(base), "method", cells(noisy(0.6, 1)), cells(noisy(0.5, 2)), [])
    assert found["verdict"] == "not seen" and found["harm"]


@pytest.mark.parametrize(
    ("level", "edges", "why"),
    [
        (0.251, [], "at the floor: 25.* guessing gets 25"),
        (0.97, [], "at the ceiling"),
        (0.5, ["method"], "the best learning rate of method is the outermost"),
    ],
)
def test_gates(base, level, edges, why):
    import re

    found = outcome.contrast(design(base), "method", cells(noisy(level, 1)), cells(noisy(level, 2)), edges)
    assert found["verdict"] == "not testable here" and re.search(why, found["why"])
    assert found["effect"] is not None  # the figure stays visible


def test_a_figure_has_its_own_floor(base):
    """An area under the curve near one half tells nobody from anybody, whatever the share of right answers is."""
    rule = {"figure": Figure("AUC", "probe.auc", chance=0.5), "seeds": 8, "pairs": 0, "trials": 1}
    made = design(base, **rule)
    assert made.fixed()["figure"] == ["probe.auc", 1, 0.5]

    def contrast(area):
        one, two = (
            [{**cell, "probe": {"auc": cell["score"]}} for cell in cells(noisy(level, seed), chance=None)]
            for level, seed in ((area, 1), (area + 0.1, 2))
        )
        return outcome.contrast(made, "method", one, two, [])

    floor = contrast(0.501)
    assert floor["verdict"] == "not testable here" and "AUC 0.50" in floor["why"]
    assert "guessing gets 0.5" in floor["why"] and contrast(0.6)["verdict"] == "seen"


def test_a_loss_has_no_floor(base):
    low = [{**cell, "chance": None, "unit": "nats a token"} for cell in cells(noisy(-2.0, 1))]
    high = [{**cell, "chance": None, "unit": "nats a token"} for cell in cells(noisy(-1.5, 2))]
    assert outcome.contrast(design(base), "method", low, high, [])["verdict"] == "seen"


def test_the_same_questions_are_paired_item_by_item(base):
    generator = np.random.default_rng(0)
    one, two = generator.integers(0, 2, (2, 8, 4)).astype(float)
    fixed = design(base, fresh=False)
    first, second = (cells(table.mean(1), values=table) for table in (one, two))
    found = outcome.effect_of(fixed, first, second)
    assert found == crossed_difference(two, one, ["a", "b", "c", "d"])
    other = cells(two.mean(1), values=two, ids=("a", "b", "c", "e"))
    with pytest.raises(ValueError, match="same questions"):
        outcome.effect_of(fixed, first, other)


def test_cells_that_are_no_pairs(base):
    with pytest.raises(ValueError, match="draws differ"):
        outcome.effect_of(design(base), cells(noisy(0.5, 1)), cells(noisy(0.5, 1))[::-1])


def test_quality_held_and_cost_lower(base):
    held = design(base, kind="non-inferiority", cost=Cost("flops", 0.7))
    control = cells(noisy(0.5, 1))
    cheap, dear = cells(noisy(0.5, 2), flops=60.0), cells(noisy(0.5, 2), flops=80.0)
    found = outcome.contrast(held, "method", control, cheap, [])
    assert found["verdict"] == "seen" and found["cost"]["ratio"] == pytest.approx(0.6)
    missed = outcome.contrast(held, "method", control, dear, [])
    assert missed["verdict"] == "not seen" and missed["cost"]["verdict"] == "not seen"
    worse = outcome.contrast(held, "method", control, cells(noisy(0.3, 2), flops=60.0), [])
    assert worse["verdict"] == "not seen" and worse["cost"]["verdict"] == "seen"


def test_a_design_that_is_none(base):
    arm = Arm("control", base)
    with pytest.raises(ValueError, match="needs a method beside its control"):
        Design("d", arm, (), evaluation="known", delta=0.1)
    with pytest.raises(ValueError, match="two arms are called 'control'"):
        Design("d", arm, (arm,), evaluation="known", delta=0.1)
    with pytest.raises(ValueError, match="seeds is 4; a verdict needs 8"):
        design(base, seeds=4)
    longer = Arm("method", changed(base, {"set": {"stages.tune.max_steps": 24}}))
    with pytest.raises(ValueError, match="different budgets"):
        Design("d", arm, (longer,), evaluation="known", delta=0.1)


def test_several_methods_share_the_level(base):
    two = Design("d", Arm("c", base), (Arm("a", base), Arm("b", base)), evaluation="known", delta=0.1)
    assert two.rule.level == pytest.approx(0.975)
