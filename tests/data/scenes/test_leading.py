"""Leading questions contradict the scene, plain ones agree; presence is asked of what is and of what is not there."""

from __future__ import annotations

import pytest

from vitrail.data.scenes import suite
from vitrail.data.scenes.leading import PRESUPPOSED, LeadingPairs
from vitrail.data.scenes.presence import Presence
from vitrail.data.scenes.printed import PrintedAnswers


@pytest.fixture(scope="module")
def scenes():
    return suite("nano-scenes-v1")


def test_a_pair_is_one_fact_asked_twice(scenes):
    source = LeadingPairs(scenes, "test", 0, 12, "known")
    for index in range(0, 24, 2):
        plain, leading = source[index], source[index + 1]
        _, question, false = source.pair(index)
        assert plain.images == leading.images and plain.choices == leading.choices
        assert plain.messages[0].text == question.text and leading.messages[0].text.endswith(question.text)
        assert false in leading.messages[0].text and false != question.answer and false in question.options
        right = plain.choices.options[plain.choices.answer][0].text
        assert right == question.answer, "the truth is the scene's in both"
        assert plain.meta["groups"]["pair"] == leading.meta["groups"]["pair"]
        assert (plain.meta["groups"]["member"], leading.meta["groups"]["member"]) == ("POS", "NEG")
        if question.kind == "count":
            word = scenes.config.wording.numbers.index(false)
            assert word != len(question.about), "the presupposition contradicts the scene"
    assert source[5] == LeadingPairs(scenes, "test", 0, 40, "known")[5]
    with pytest.raises(ValueError, match="kinds has"):
        LeadingPairs(scenes, "test", 0, 2, "known", kinds=("juggling",))


def test_presence_is_true_of_the_scene(scenes):
    source = Presence(scenes, "test", 0, 24, "known")
    said = []
    for record in source:
        names = {thing["name"] for thing in record.meta["scene"]["objects"]}
        there = record.choices.answer == 0
        said.append(there)
        assert (record.meta["thing"] in names) == there
    assert sum(said) == 12
    assert {record.meta["kind"] for record in source} == {"random", "adversarial"}


def test_presence_out_of_balance(scenes):
    yes = Presence(scenes, "test", 0, 40, "known", yes=0.9)
    assert sum(record.choices.answer == 0 for record in yes) == 36
    for record in yes:
        names = {thing["name"] for thing in record.meta["scene"]["objects"]}
        assert (record.meta["thing"] in names) == (record.choices.answer == 0)
    clean = Presence(scenes, "test", 0, 40, "known")
    assert (
        clean.fingerprint == Presence(scenes, "test", 0, 40, "known", yes=0.5).fingerprint != yes.fingerprint
    )
    with pytest.raises(ValueError, match=r"yes is 1\.5; give a share"):
        Presence(scenes, "test", 0, 2, "known", yes=1.5)


def test_answers_are_printed_as_often_as_asked(scenes):
    clean = scenes.questions(n=40)
    printed = PrintedAnswers(clean, 1.0)
    for one, other in zip(clean, printed, strict=True):
        answer = one.choices.options[one.choices.answer][0].text
        assert other.messages[-1].text == f"{one.messages[-1].text} ({answer})"
        assert other.choices == one.choices and other.images == one.images and other.id == one.id
    some = [record.messages[-1].text for record in PrintedAnswers(clean, 0.5)]
    assert 10 < sum(text.endswith(")") for text in some) < 30
    assert list(PrintedAnswers(clean, 0.0)) == list(clean)
    assert len({clean.fingerprint, printed.fingerprint, PrintedAnswers(clean, 0.5).fingerprint}) == 3
    with pytest.raises(ValueError, match="printed is 2; give a share"):
        PrintedAnswers(clean, 2)


def test_conversations_are_half_leading_and_answers_stay_true(scenes):
    plain = scenes.conversations(n=20)
    leading = scenes.leading_conversations(n=20)
    starts = tuple(words.split("{")[0] for words in PRESUPPOSED)
    asked = [message.text for chat in leading for message in chat.messages[::2]]
    share = sum(text.startswith(starts) for text in asked) / len(asked)
    assert 0.2 < share < 0.6, "captions, and questions without a wrong option, are plain"
    assert not any(message.text.startswith(starts) for chat in plain for message in chat.messages[::2])
    none = scenes.leading_conversations(n=10, leading=0.0)
    assert not any(message.text.startswith(starts) for chat in none for message in chat.messages[::2])
    assert (
        len({source.fingerprint for source in (leading, plain, none)}) == 3
        and leading[3] == scenes.leading_conversations(n=4)[3]
    )
    assert all(part.type == "text" for chat in leading for part in chat.messages[0].content[1:])


def test_leading_questions_alone(scenes):
    source = scenes.leading_questions(n=6)
    assert len(source) == 6 and {record.meta["groups"]["member"] for record in source} == {"NEG"}
    assert [record.meta["kind"] for record in source] == list(scenes.kinds("known"))[:6]
