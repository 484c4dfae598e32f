"""Schedules, what they cost, and the two ways to find them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vitrail.analysis.ranking_similarity import ranking_similarity
from vitrail.inference.keep_schedule import (
    KeepSchedule,
    Shape,
    constant,
    cut_at_budget,
    everything,
    one_cut,
    p_sigmoid,
    staged,
)
from vitrail.inference.keep_search import agreement, g_search, p_sigmoid_search

SHAPE = Shape(hidden_size=64, intermediate_size=160, num_hidden_layers=8, visual=196, other=30)


def needs(*least):
    """Quality 1 where every layer keeps what it needs, else 0."""
    return lambda schedule: float(all(r >= k - 1e-9 for r, k in zip(schedule.rates, least, strict=True)))


@pytest.mark.parametrize(
    "least", [(1, 0.8, 0.5, 0.2), (1, 1, 1, 1), (1, 0.1, 0.1, 0.1), (1, 0.9, 0.3, 0.3), (1, 1, 0.7, 0.1)]
)
def test_g_search_finds_the_least_shares(least):
    found, trace = g_search(needs(*least), 4)
    assert found.rates == pytest.approx(least)
    assert len(trace.tried) <= 1 + 3 * math.ceil(math.log2(10))
    assert len({one.schedule.rates for one in trace.tried}) == len(trace.tried), "nothing is asked twice"


def test_greedy_is_optimal_by_brute_force():
    shape = Shape(hidden_size=16, intermediate_size=40, num_hidden_layers=4, visual=50, other=9)
    grid = [step / 5 for step in range(1, 6)]
    for least in ((1, 0.8, 0.4, 0.2), (1, 0.6, 0.6, 0.2)):
        quality = needs(*least)
        all_of_them = [
            KeepSchedule((1.0, *rates))
            for rates in itertools.product(grid, repeat=3)
            if list(rates) == sorted(rates, reverse=True)
        ]
        cheapest = min((one for one in all_of_them if quality(one)), key=lambda one: one.cost(shape))
        assert g_search(quality, 4, step=0.2)[0].rates == pytest.approx(cheapest.rates)


def test_needs_that_rise_with_depth_still_give_a_schedule_that_holds():
    least = (1, 0.2, 0.6, 0.3)
    found, _ = g_search(needs(*least), 4)
    assert needs(*least)(found) == 1 and found.rates == pytest.approx((1, 0.6, 0.6, 0.3))


def test_groups_and_late_first_layers():
    found, trace = g_search(needs(1, 0.8, 0.5, 0.2), 4, group=2)
    assert found.rates == pytest.approx((1, 0.8, 0.8, 0.2)) and len(trace.tried) <= 1 + 2 * 4
    assert g_search(needs(1, 0.1, 0.1, 0.1), 4, first=2)[0].rates == pytest.approx((1, 1, 0.1, 0.1))
    tolerant, _ = g_search(lambda one: one.mean, 4, tolerance=0.2)
    assert 0.8 <= tolerant.mean < 1


@pytest.mark.parametrize("budget", [0.9, 0.5, 0.33, 0.25])
@pytest.mark.parametrize(("k", "b"), [(0, 0.5), (5, 0.3), (12, 0.7), (40, 0.4)])
def test_p_sigmoid_meets_its_budget(budget, k, b):
    found = p_sigmoid(k, b, budget, SHAPE)
    assert found.budget(SHAPE) == pytest.approx(budget, rel=0.01)
    assert list(found.rates) == sorted(found.rates, reverse=True) and found.rates[0] == 1
    if k == 0:
        assert np.ptp(found.rates[1:]) == 0 and found == constant(budget, SHAPE)


def test_a_steep_sigmoid_is_one_step_at_its_midpoint():
    shape = Shape(64, 160, 11, 196, 30)
    step = one_cut(11, 6, 0.0).budget(shape)
    found = p_sigmoid(400, 0.55, step, shape)
    assert min(found.rates[:6]) > 0.95 and max(found.rates[6:]) < 0.05


def test_other_schedules():
    assert one_cut(5, 2, 0.5).rates == (1, 1, 0.5, 0.5, 0.5)
    assert staged(5, {1: 0.5, 3: 0.25}).rates == (1, 0.5, 0.5, 0.25, 0.25)
    assert cut_at_budget(2, 0.5, SHAPE).budget(SHAPE) == pytest.approx(0.5, rel=0.01)
    assert everything(8).budget(SHAPE) == 1 and everything(3).mean == 1
    n, d, h = 226, 64, 160
    assert everything(8).cost(SHAPE) == 8 * (4 * n * d**2 + 2 * n**2 * d + 3 * n * d * h)


def test_a_schedule_survives_a_file(tmp_path):
    one = p_sigmoid(7, 0.4, 0.5, SHAPE)
    one.save(tmp_path / "schedule.json")
    assert KeepSchedule.load(tmp_path / "schedule.json") == one
    (tmp_path / "bad.json").write_text('{"rates": "all"}')
    with pytest.raises(ValueError, match="one number a layer"):
        KeepSchedule.load(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="cannot be read"):
        KeepSchedule.load(tmp_path / "none.json")


def test_the_search_is_reproducible_and_beats_drawing():
    def smooth(schedule):
        """Best where the shares are those of k = 14, b = 0.35."""
        wanted = p_sigmoid(14, 0.35, 0.5, SHAPE).rates
        return -sum((a - b) ** 2 for a, b in zip(schedule.rates, wanted, strict=True))

    runs = [p_sigmoid_search(smooth, 0.5, SHAPE, trials=15, seed=seed) for seed in (0, 0, 1)]
    assert runs[0][0] == runs[1][0] and len(runs[0][1].tried) <= 15
    drawn = [p_sigmoid_search(smooth, 0.5, SHAPE, trials=15, random_trials=15, seed=s)[0] for s in (0, 1)]
    assert np.mean([smooth(one[0]) for one in runs[1:]]) > 0.2 * np.mean([smooth(one) for one in drawn])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: p_sigmoid(5, 0.5, 0.01, SHAPE), "words and the first layer alone cost"),
        (lambda: p_sigmoid(-1, 0.5, 0.5, SHAPE), "give k of 0 or more"),
        (lambda: cut_at_budget(7, 0.2, SHAPE), "even if no visual token is left"),
        (lambda: one_cut(4, 4, 0.5), "layers from 1 to 3"),
        (lambda: everything(4).cost(SHAPE), "4 rates, and the model 8 layers"),
        (lambda: g_search(lambda one: math.nan, 4), "gave no number"),
        (lambda: g_search(needs(1, 1), 2, step=0.3), "divides 1"),
        (lambda: p_sigmoid_search(lambda one: 1.0, 0.5, SHAPE, trials=2), "random_trials is 5"),
        (lambda: Shape(64, 160, 8, 0, 3), "visual is 0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_agreement_with_the_whole_model(saved_family):
    from conftest import chat
    from vitrail.models.loading import load

    bundle = load(str(saved_family("llava")))
    chats = [chat("what is it " * (k + 1), images=1, seed=k) for k in range(3)]
    quality = agreement(bundle, chats, batch_size=2)
    assert quality(everything(3)) == 0
    less = quality(KeepSchedule((1, 0.5, 0.25)))
    assert less < 0 and agreement(bundle, chats, batch_size=1)(KeepSchedule((1, 0.5, 0.25))) == pytest.approx(
        less, abs=1e-5
    )
    found, _ = g_search(quality, 3, step=0.25, tolerance=-less)
    assert quality(found) >= less
    with pytest.raises(ValueError, match="calibration set is empty"):
        agreement(bundle, [])
    table = ranking_similarity(
        bundle.model, bundle.collator("left")([bundle.encoder.encode(one) for one in chats])
    )
    assert table.shape == (3, 3) and np.allclose(table, table.T) and (np.diag(table) == 1).all()
    assert np.abs(table).max() <= 1
