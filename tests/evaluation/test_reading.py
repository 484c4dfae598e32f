"""Answers are read as each benchmark's own script reads them, quirks included; what is unreadable stays so."""

from __future__ import annotations

import pytest

from vitrail.evaluation.metrics import Match
from vitrail.evaluation.reading import READINGS

OPTIONS = ["a cat", "a dog.", "red", "blue"]


@pytest.mark.parametrize(
    ("text", "first", "word", "words"),
    [
        ("B", 1, 1, 1),
        ("b) because", 1, None, 1),
        ("The answer is B", None, 1, 1),
        ("A dog, so C", 0, 0, 1),
        ("D.", 3, 3, 3),
        (" c", 2, None, 2),
        ("E", None, None, None),
        ("", None, None, None),
        ("It is C. Not A", None, 2, None),
        ("A bird, so C", 0, 0, 2),
        ("I think D is it", None, 3, 3),
        ("B,C", 1, 1, 1),
        ("a dog", 0, None, 1),
        ("a cat or blue", 0, None, None),
    ],
)
def test_three_readings_of_one_answer(text, first, word, words):
    found = [
        READINGS[name](text, OPTIONS, True) for name in ("first-character", "first-letter-word", "words")
    ]
    assert found == [first, word, words]


def test_a_contained_text_needs_the_right_option():
    judge = Match(Match.Config(reading="contained-text")).judge
    row = {"options": OPTIONS, "answer": 1}
    assert judge({**row, "text": "I see a dog here"}) == (1, True, True), "the final full stop is left out"
    assert judge({**row, "text": "a cat"}) == (0, False, True)
    assert judge({**row, "text": "a cat, a dog, red"}).correct, "the official quirk: a list of all is right"
    assert judge({**row, "text": "a cat, red"}) == (None, False, False)


def test_letters_cannot_be_switched_off_where_they_are_all_that_is_read():
    with pytest.raises(ValueError, match="letters is False, but reading 'first-character'"):
        Match.Config(reading="first-character", letters=False)
