"""Paired conversations: the schema, both halves, evasive replies taken out with their questions."""

from __future__ import annotations

import json

import pytest

from conftest import picture
from vitrail.curation.leading_pairs import (
    HALVES,
    PairedConversationBuilder,
    check_sample,
    checked,
    halves,
    without_hedges,
)
from vitrail.inference.answerers import FunctionAnswerer


def turns(*replies, leading=False):
    found = []
    for place, reply in enumerate(replies):
        asked = f"{'Why is' if leading else 'Is'} it so, number {place}?"
        found += [{"from": "human", "value": asked, "options": list("abcd")}, {"from": "gpt", "value": reply}]
    return found


def record(**changes):
    whole = {
        "id": "7",
        "image": "a.jpg",
        HALVES[0]: turns("Yes.", "Red."),
        HALVES[1]: turns("No.", "Red.", leading=True),
    }
    return {**whole, **changes}


def test_both_halves_become_samples():
    positive, negative = halves(record())
    assert positive["id"] == "7-pos" and negative["image"] == "a.jpg"
    assert positive["conversations"][0] == {"from": "human", "value": "<image>\nIs it so, number 0?"}
    assert all(set(turn) == {"from", "value"} for turn in negative["conversations"])
    check_sample(positive)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": ""}, "image: is missing"),
        ({HALVES[0]: turns("a")[:1]}, "has 1 turns; every question needs its reply"),
        ({HALVES[0]: turns("a")[::-1]}, "it must be 'human' here"),
        ({HALVES[0]: [{**turns("a")[0], "weight": 1}, turns("a")[1]]}, "has the keys"),
        ({HALVES[0]: [turns("a")[0], {"from": "gpt", "value": None}]}, "value: is empty"),
        ({HALVES[0]: turns("a", "<image> b")}, "belongs to the first turn alone"),
        ({HALVES[1]: turns("a")}, "pairs need both members"),
    ],
)
def test_broken_records_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        checked(record(**changes))


def test_evasive_replies_go_with_their_questions():
    evasive = turns("I'm sorry, no.", "Red.", "It is not visible.")
    sample = halves(record(**{HALVES[0]: evasive, HALVES[1]: turns("a", "b", "c")}))[0]
    kept = without_hedges(sample)["conversations"]
    assert [turn["value"] for turn in kept] == ["<image>\nIs it so, number 1?", "Red."]
    assert [turn["from"] for turn in kept] == ["human", "gpt"]
    assert without_hedges(halves(record(**{HALVES[0]: turns("Sorry."), HALVES[1]: turns("a")}))[0]) is None


def test_a_model_writes_pairs():
    written = {half: record()[half] for half in HALVES}
    answerer = FunctionAnswerer(lambda chat: f"Here you are: {json.dumps(written)}")
    assert PairedConversationBuilder(answerer).build("7", "a.jpg", picture()) == record()
    with pytest.raises(ValueError, match="wrote no JSON"):
        PairedConversationBuilder(FunctionAnswerer(lambda chat: "no")).build("7", "a.jpg", picture())
