"""Scores of personalised answers and of evidence, against counts by hand."""

from __future__ import annotations

import pytest

from vitrail.evaluation.personal import (
    agreement,
    name_scores,
    names_said,
    normalised_match,
    recognition_scores,
    webqa_accuracy,
)


def test_names_in_captions():
    names = ["Bo", "Mia", "Bob"]
    assert names_said("<bo> and Mia's hat, bobsleigh", names) == {"Bo", "Mia"}
    found = name_scores(["<Bo> sits", "Mia and Bob", "nobody"], [["Bo", "Mia"], ["Mia"], ["Bob"]], names)
    assert (found.right, found.said, found.true) == (2, 3, 4)
    assert found.precision == pytest.approx(2 / 3) and found.recall == 0.5
    assert found.f1 == pytest.approx(4 / 7)


def test_evidence():
    perfect = agreement([["a", "b"], ["c"]], [["a", "b"], ["c"]])
    assert perfect.recall == perfect.precision == perfect.f1 == 1
    assert agreement([[], []], [["a"], ["b"]]).f1 == 0 and agreement([["a", "x"]], [["a"]]).precision == 0.5
    with pytest.raises(ValueError, match="give both for each"):
        agreement([["a"]], [])


def test_recognition():
    found = recognition_scores(
        [True, None, False, False, True, False], [True, True, False, False, False, False]
    )
    assert found.positive.value == 0.5 and found.negative.value == 0.75 and found.mean == 0.625
    with pytest.raises(ValueError, match="questions of both kinds"):
        recognition_scores([True], [True])


def test_answers():
    assert normalised_match("The red cat.", "red cat") and not normalised_match("red", "blue")
    assert normalised_match("Two dogs", "2 dogs")
    assert webqa_accuracy("It is red, and blue!", "blue", "color") == pytest.approx(2 / 3)
    assert webqa_accuracy("yes, it is", "Yes it was", "YesNo") == 1
    assert webqa_accuracy("there are three", "3", "number") == 1
    assert webqa_accuracy("a big statue", "big bronze statue", "Others") == pytest.approx(2 / 3)
    assert webqa_accuracy("two", "many", "number") == 0
    assert webqa_accuracy("dogs", "dog", "text", lemma=lambda word: word.rstrip("s")) == 1
