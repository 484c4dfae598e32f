"""Rules read and refused; clauses against a truth table."""

import itertools
import json
import random

import pytest

from vitrail.inference.constitution import Constitution, Rule, all_of, any_of

WHOLE = {
    "rules": [
        {
            "id": "injury",
            "text": "No injured people or animals.",
            "objectiveness": 9,
            "original": "No gore.",
            "clauses": [["A human is visible", "An animal is visible"], ["Injuries are visible"]],
            "central_words": {"Injuries are visible": ["body"]},
        },
        {"id": "fire", "text": "Nothing burns.", "clauses": [["Something burns"]]},
    ]
}


def test_a_file_is_written_and_read_again(tmp_path):
    made = Constitution.model_validate(WHOLE)
    made.write(tmp_path / "rules.json")
    again = Constitution.read(tmp_path / "rules.json")
    assert again == made and again.fingerprint == made.fingerprint
    assert again["injury"].conditions == [
        "A human is visible",
        "An animal is visible",
        "Injuries are visible",
    ]
    assert made.listed().splitlines()[1] == "2. Nothing burns."
    changed = Constitution.model_validate({"rules": WHOLE["rules"][:1]})
    assert changed.fingerprint != made.fingerprint


def test_short_forms_and_paths_are_taken(tmp_path):
    (tmp_path / "rules.json").write_text(json.dumps(["No dogs.", "No cats."]))
    found = Constitution.model_validate(str(tmp_path / "rules.json"))
    assert [(rule.id, rule.text) for rule in found.rules] == [("rule-1", "No dogs."), ("rule-2", "No cats.")]
    with pytest.raises(ValueError, match="rule 'rule-1' has no clauses; write them"):
        found.require_divided()
    assert found.rules[0].undivided().clauses == (("This rule is broken: No dogs.",),)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"rules": []}, "rules is empty; write one at least"),
        ([{"id": "a", "text": "x", "clauses": [[]]}], r"clauses\[0\] is \[\]; write one condition at least"),
        ([{"id": "a", "text": "x", "clauses": [["y"], [" "]]}], r"clauses\[1\]"),
        ([{"id": "a", "text": " "}], "has an empty text"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "two rules have the id 'a'"),
        (
            [{"id": "a", "text": "x", "clauses": [["y"]], "central_words": {"z": ["w"]}}],
            "'z', which is none of",
        ),
        (
            [{"id": "a", "text": "x", "claus": []}],
            "rules.0.claus: there is no such field; did you mean 'clauses'",
        ),
        ([{"id": "a", "text": "x", "objectiveness": 11}], "objectiveness: must be less than or equal to 10"),
    ],
)
def test_what_is_no_constitution_is_named(tmp_path, value, said):
    (tmp_path / "rules.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=said):
        Constitution.read(tmp_path / "rules.json")


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(ValueError, match="there is no constitution"):
        Constitution.read(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON file of rules"):
        Constitution.read(tmp_path / "bad.json")


def test_clauses_equal_a_truth_table():
    draw = random.Random(0)
    for _ in range(200):
        clauses = [
            [draw.choice([True, False]) for _ in range(draw.randint(1, 3))] for _ in range(draw.randint(1, 4))
        ]
        assert all_of([any_of(clause) for clause in clauses]) == all(any(clause) for clause in clauses)


def test_undecided_is_what_both_answers_would_leave_open():
    for values in itertools.product((True, False, None), repeat=3):
        filled = [
            [one if one is not None else guess for one, guess in zip(values, guesses, strict=True)]
            for guesses in itertools.product((True, False), repeat=3)
        ]
        for mine, plain in ((any_of, any), (all_of, all)):
            possible = {plain(some) for some in filled}
            assert mine(values) == (possible.pop() if len(possible) == 1 else None)


def test_a_rule_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Rule(id="a", text="b").text = "c"
