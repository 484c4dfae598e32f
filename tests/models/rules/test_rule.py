"""What combining rules means: truth tables, and what cannot be combined."""

from __future__ import annotations

import itertools

import pytest
import torch

from vitrail.models.rules import (
    bidirectional_items,
    causal,
    drop_at,
    keep_given,
    narrowing,
    own,
    same_segment,
    visual_isolated,
    widening,
    window,
)
from vitrail.models.rules.masks import Rule
from vitrail.models.rules.rule import Leaf, evaluate, narrows

TRUTH = torch.tensor(list(itertools.product([False, True], repeat=3))).T  # own, a, b
OWN, A, B = TRUTH
VALUES = {"a": A, "b": B}


def leaf(name: str, narrows: bool) -> Rule:
    return Rule(name, Leaf(name, lambda layout: None, narrows=narrows))


def value(rule: Rule, layer: int = 0) -> torch.Tensor:
    return evaluate(rule.mask, layer, OWN, lambda one: VALUES[one.name])


NARROW_A, NARROW_B, WHOLE_A, WHOLE_B = leaf("a", True), leaf("b", True), leaf("a", False), leaf("b", False)
CASES = {
    "N": (NARROW_A, OWN & A),
    "W": (WHOLE_A, A),
    "N&N": (NARROW_A & NARROW_B, OWN & A & B),
    "N|N": (NARROW_A | NARROW_B, OWN & (A | B)),
    "W&N": (WHOLE_A & NARROW_B, A & B),
    "N&W": (NARROW_A & WHOLE_B, A & B),
    "W&W": (WHOLE_A & WHOLE_B, A & B),
    "W|W": (WHOLE_A | WHOLE_B, A | B),
    "W|N": (WHOLE_A | NARROW_B, A | (OWN & B)),
    "N|W": (NARROW_A | WHOLE_B, (OWN & A) | B),
    "own|W": (own() | WHOLE_B, OWN | B),
    "none": (Rule("none"), OWN),
    "none|W": (Rule("none") | WHOLE_B, OWN | B),
    "none&N": (Rule("none") & NARROW_B, OWN & B),
}


@pytest.mark.parametrize("name", CASES)
def test_truth_tables(name):
    rule, wanted = CASES[name]
    assert torch.equal(value(rule), wanted)


def test_a_widening_rule_adds_to_the_models_own_mask():
    rule = widening("a", lambda layout: None)
    assert torch.equal(value(rule), OWN | A)
    assert not narrows(rule.mask)
    assert torch.equal(value(rule & NARROW_B), (OWN | A) & B)


def test_elsewhere_the_models_own_mask_holds():
    for rule, here in [(NARROW_A, OWN & A), (WHOLE_A, A), (NARROW_A | NARROW_B, OWN & (A | B))]:
        some = rule.on([1, 2])
        assert torch.equal(value(some, 1), here)
        assert torch.equal(value(some, 0), OWN)


def test_a_rule_says_nothing_where_it_does_not_hold():
    for rule in (NARROW_A.on([0]) | WHOLE_B.on([1]), NARROW_A.on([0]) & WHOLE_B.on([1])):
        assert torch.equal(value(rule, 0), OWN & A)
        assert torch.equal(value(rule, 1), B)
        assert torch.equal(value(rule, 2), OWN)
    for rule in (WHOLE_A.on([0]) & NARROW_B, WHOLE_A.on([0]) | NARROW_B):
        assert torch.equal(value(rule, 1), OWN & B)


def test_layers_of_layers_meet():
    assert NARROW_A.on([2, 1]).on([2, 5]).layers == {2}


def test_isolation_stays_apart_from_the_mask_in_every_combination():
    for rule in (same_segment() | bidirectional_items(), bidirectional_items() | same_segment() & own()):
        assert [one.name for one in rule.isolation] == ["same_segment"]
    both = same_segment() & same_segment()
    assert len(both.isolation) == len(both.positions) == 1


def test_what_would_come_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"same_segment \| visual_isolated.*combine them with &"):
        same_segment() | visual_isolated()
    dropping = keep_given(2, torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"keep_given\(2\) drops tokens at layer 2 and own keeps them all"):
        own() | dropping
    with pytest.raises(ValueError, match="drops tokens at layer 1"):
        dropping | keep_given(1, torch.ones(1, 4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (same_segment(), "isolates samples"),
        (keep_given(1, torch.ones(1, 1, dtype=torch.bool)), "drops tokens"),
        (causal() & keep_given(1, torch.ones(1, 1, dtype=torch.bool)), "drops tokens"),
    ],
)
def test_what_is_no_matter_of_single_layers_is_refused(rule, why):
    with pytest.raises(ValueError, match=why):
        rule.on([0])


def test_no_layers_and_negative_ones_are_refused():
    for layers in ([], [-1]):
        with pytest.raises(ValueError, match="numbered from 0"):
            causal().on(layers)


def test_kept_tokens_meet_or_unite():
    a = drop_at(2, lambda seen: A[None], scores_of=(0,), name="a")
    b = drop_at(2, lambda seen: B[None], scores_of=(1,), name="b")
    (both,), (either,) = (a & b).drops, (a | b).drops
    assert torch.equal(both.keep(None)[0], A & B)
    assert torch.equal(either.keep(None)[0], A | B)
    assert both.scores_of == (0, 1)
    assert [one.layer for one in (drop_at(3, lambda seen: A) & a).drops] == [2, 3]


def test_the_cache_keeps_what_both_keep_or_what_either_keeps():
    narrow, wide = window(2), window(5)
    assert len((narrow & wide).held) == 2
    assert (narrow | own()).held == ()
    (either,) = (narrow | wide).held
    assert either.layers is None
    (some,) = (narrow.on([0, 1]) | wide).held
    assert some.layers == {0, 1}
    assert (narrow.on([0]) | wide.on([1])).held == ()


def test_what_a_rule_names():
    assert repr(causal() & window(4, sinks=1).on([0, 1, 2])) == "Rule((causal & window(4, sinks=1).on(0–2)))"
    rule = visual_isolated().on([3]) & drop_at(5, lambda seen: seen.alive)
    assert rule.layers == {3, 5}
    assert rule.needs_layout
    assert not (causal() & window(3)).needs_layout
    assert not narrowing("mine", lambda layout: None, needs_layout=False).needs_layout


@pytest.mark.parametrize("settings", [{"size": 0}, {"size": 2, "sinks": -1}])
def test_impossible_windows_are_refused(settings):
    with pytest.raises(ValueError, match="at least"):
        window(**settings)


def test_an_unknown_within_is_refused():
    with pytest.raises(ValueError, match="'token' or 'item'"):
        visual_isolated("frame")
