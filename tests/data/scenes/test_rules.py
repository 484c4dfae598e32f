"""Rules about scenes: pairs that break one and nearly do, exact truth and boxes; skewed questions."""

from collections import Counter

import pytest

from vitrail.data.scenes import suite
from vitrail.data.scenes.rules import (
    QUESTION,
    Condition,
    ConditionQuestions,
    RuledScenes,
    broken,
    conditions,
    drawn_rules,
)
from vitrail.inference.constitution import Constitution
from vitrail.inference.debiased import PROMPT


@pytest.fixture(scope="module")
def nano():
    return suite("nano-scenes-v1")


def names(chat):
    return [one["name"] for one in chat.meta["scene"]["objects"]]


def test_pairs_break_a_rule_and_nearly_do(nano):
    source = RuledScenes(nano, "development", 0, 24, "known")
    for index in range(0, 24, 2):
        breaks, nearly = source[index], source[index + 1]
        kind = f"rule-{index // 2 % 6 + 1}"
        assert breaks.meta["kind"] == nearly.meta["kind"] == kind
        assert (breaks.choices.answer, nearly.choices.answer) == (0, 1)
        own = source.rules[int(kind[-1]) - 1]
        assert broken(own, source.pool, names(breaks))
        assert not any(broken(rule, source.pool, names(nearly)) for rule in source.rules)
        assert sum(a != b for a, b in zip(names(breaks), names(nearly), strict=True)) == 1


def test_rules_are_a_constitution_of_two_to_four_conditions(nano):
    source = RuledScenes(nano, "test", 1, 4, "known")
    read = Constitution.model_validate(source[0].meta["constitution"])
    read.require_divided()
    assert {len(rule.conditions) for rule in read.rules} == {2, 3, 4}
    assert all(set(rule.central_words) == set(rule.conditions) for rule in read.rules)
    assert source.rules == drawn_rules(source.pool, nano.name, "known") and len(read.rules) == 6
    assert all(rule.text in source[0].messages[0].text for rule in read.rules)


def test_boxes_are_those_of_what_meets_a_condition(nano):
    source = RuledScenes(nano, "development", 0, 12, "known")
    for chat in source:
        where = {tuple(one["box"]): one["name"] for one in chat.meta["scene"]["objects"]}
        for rule in source.rules:
            for one in (atom for clause in rule for atom in clause):
                boxes = chat.meta["boxes"].get(one.central(source.pool), [])
                assert {where[tuple(box)] for box in boxes} == set(names(chat)) & set(one.met_by(source.pool))


def test_some_rules_alone_and_what_is_refused(nano):
    some = RuledScenes(nano, "test", 0, 4, "known", ("rule-2",))
    assert {chat.meta["kind"] for chat in some} == {"rule-2"}
    assert some.fingerprint != RuledScenes(nano, "test", 0, 4, "known").fingerprint
    with pytest.raises(ValueError, match=r"kinds has \['rule-9'\]"):
        RuledScenes(nano, "test", 0, 4, "known", ("rule-9",))


def test_questions_say_what_the_judge_says(nano):
    assert QUESTION == PROMPT
    chat = ConditionQuestions(nano, "train", 0, 3, "known")[0]
    assert chat.messages[0].text == PROMPT.format(condition=chat.meta["condition"])


def test_answers_are_true_and_as_skewed_as_asked(nano):
    source = ConditionQuestions(nano, "train", 0, 180, "known", None, {"colour": 0.8, "kind": 1.0}, 1.0)
    said, beside = Counter(), Counter()
    for chat in source:
        kind = chat.meta["kind"]
        one = next(one for one in conditions(source.pool) if one.text(source.pool) == chat.meta["condition"])
        holds = bool(set(names(chat)) & set(one.met_by(source.pool)))
        assert holds == (chat.choices.answer == 0)
        said[kind, holds] += 1
        beside[holds] += source.companion(one) in names(chat)
    assert said["kind", False] == 0 and 40 <= said["colour", True] <= 56 and 18 <= said["thing", True] <= 42
    assert (
        beside[True] == sum(said[kind, True] for kind in ("thing", "kind", "colour")) and beside[False] == 0
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"yes": {"smell": 0.5}}, "yes names 'smell'"),
        ({"yes": {"colour": 1.5}}, "shares from 0 to 1; got 1.5"),
        ({"context": -0.5}, "shares from 0 to 1"),
        ({"kinds": ("smell",)}, "kinds has"),
    ],
)
def test_settings_that_are_refused(nano, change, said):
    with pytest.raises(ValueError, match=said):
        ConditionQuestions(nano, "train", 0, 3, "known", **change)


def test_told_conditions_are_words_of_other_scenes(nano):
    told = ConditionQuestions(nano, "train", 0, 30, "known", told=True)
    shown = ConditionQuestions(nano, "train", 0, 30, "known")
    assert {one.id for one in told}.isdisjoint(one.id for one in shown)
    for chat in told:
        (part,) = chat.messages[0].content
        lines = part.text.split("\n")
        assert lines[1:] == PROMPT.format(condition=chat.meta["condition"]).split("\n") and not chat.images
        assert all(f"{nano.library[name].name}." in lines[0] for name in names(chat))
    assert told.fingerprint != shown.fingerprint


def test_conditions_in_words(nano):
    pool = nano.pool("known")
    found = {
        Condition("thing", "owl").text(pool),
        Condition("kind", "bird").text(pool),
        Condition("colour", "red").text(pool),
    }
    assert found == {f"the picture shows {what}" for what in ("an owl", "a bird", "something red")}
