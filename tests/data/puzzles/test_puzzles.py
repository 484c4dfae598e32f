import re

import pytest

from vitrail.data.puzzles.addition import Addition
from vitrail.data.puzzles.lego import GRAPH, Lego


def solved(text):
    """The value of the variable that a LEGO question asks for, by following the clauses."""
    said, asked = re.fullmatch(r"Input: (.*)\. Output: (\w) =", text).groups()
    rules = dict(re.fullmatch(r"(\w) = (.*)", clause).groups() for clause in said.split(", "))

    def value(name):
        kind, of = rules[name].split()
        found = int(of) if of.isdigit() else value(of)
        return found if kind == "val" else 1 - found

    def depth(name):
        of = rules[name].split()[1]
        return 1 if of.isdigit() else 1 + depth(of)

    return value(asked), depth(asked)


@pytest.mark.parametrize("skill", [1, 3, 5])
def test_lego_asks_for_the_variable_at_its_place_in_the_chain(skill):
    source = Lego(skill, 60)
    for record in source:
        value, depth = solved(record.messages[0].text)
        assert (record.messages[1].text, depth) == (str(value), skill)
    answers = [record.messages[1].text for record in source]
    assert 15 < answers.count("1") < 45 and len({record.messages[0].text for record in source}) == 60
    assert len(GRAPH) == 5


def test_addition_asks_for_a_digit_of_the_sum():
    for skill in range(3):
        for record in Addition(skill, 40):
            one, other, digit = re.fullmatch(r"A = (.*) \+ (.*), A (\d) =", record.messages[0].text).groups()
            total = int(one.replace(" ", "")) + int(other.replace(" ", ""))
            assert record.messages[1].text == f"{total:04d}"[-1 - int(digit)] and int(digit) == skill


def test_folds_share_no_question_and_seeds_give_the_same():
    texts = {
        fold: {record.messages[0].text for record in Lego(2, 80, fold=fold, variables=3)}
        for fold in ("train", "development", "test")
    }
    assert not (texts["train"] & texts["test"]) and not (texts["development"] & texts["test"])
    assert Lego(2, 9).fingerprint == Lego(2, 9).fingerprint != Lego(2, 9, seed=1).fingerprint
    question = Lego(2, 9, asked=True)[3]
    assert len(question.messages) == 1 and question.choices.options[question.choices.answer][0].text == (
        Lego(2, 9)[3].messages[1].text
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="skills 1 to 5"):
        Lego(6, 3)
    with pytest.raises(ValueError, match="skills 0 to 2"):
        Addition(3, 3)
    with pytest.raises(ValueError, match="has not 120 different questions"):
        Addition(0, 120, digits=1)
