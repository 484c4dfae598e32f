"""CHAIR by hand, its metric, and the metrics of numbers and spans."""

import json

import pytest

from vitrail.evaluation.answer_metrics import Numeric, SpanF1
from vitrail.evaluation.hallucination import Chair, Mentions, chair_metrics, chair_of, vocabulary

WORDS = {"dog": ["puppy"], "hot dog": [], "cherry": [], "knife": [], "cat": ["kitten"]}


def test_objects_in_a_text():
    found = Mentions(WORDS).of("Two Puppies, a hot dog, cherries and a dogma; knives beside the cat.")
    assert found == ["dog", "hot dog", "cherry", "knife", "cat"]


def test_chair_by_hand():
    captions = ["a dog and a cat", "a dog", "nothing at all", "a cat, a cat and a knife"]
    objects = [["dog"], ["dog", "knife"], ["dog"], ["cat", "knife"]]
    found = chair_metrics(captions, objects, WORDS)
    assert found["chair_i"] == pytest.approx(1 / 6) and found["chair_s"] == 1 / 4
    assert found["recall"] == pytest.approx(4 / 6) and found["mentions"] == 6 / 4
    with pytest.raises(ValueError, match="2 descriptions and 1 lists"):
        chair_metrics(["a", "b"], [["dog"]], WORDS)


def test_the_metric_wants_an_object_and_no_wrong_one(tmp_path):
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(WORDS))
    metric = Chair(Chair.Config(vocabulary=str(path)))

    def judge(text):
        return metric.judge({"text": text, "reference": "a dog and a knife"})

    assert judge("a puppy").correct and not judge("a puppy and a cat").correct
    nothing = judge("a nice picture")
    assert not nothing.correct and not nothing.parsed
    rows = [{"text": "a puppy and a cat", "reference": "a dog and a knife"}]
    assert chair_of(rows, str(path))["chair_i"] == 0.5
    path.write_text("[1]")
    vocabulary.cache_clear()
    with pytest.raises(ValueError, match="is no vocabulary"):
        vocabulary(str(path))


def test_a_suite_is_a_vocabulary():
    words = vocabulary("nano-scenes-v1")
    assert Mentions(words).of("Two cows and a racing car in the center.") == ["cow", "racing car"]


@pytest.mark.parametrize(
    ("settings", "text", "reference", "correct", "parsed"),
    [
        ({}, "so it is 1,200.50 in all", "1200.5", True, True),
        ({}, "-7", "7", False, True),
        ({"sign": False}, "-7", "7", True, True),
        ({}, "none", "7", False, False),
        ({"marker": "####"}, "3 + 4\n#### 7", "1 + 6 = 7\n#### 7", True, True),
        ({"marker": "####"}, "7", "#### 7", False, False),
        ({"marker": "####"}, "#### Yes", "#### yes", True, True),
    ],
)
def test_final_numbers(settings, text, reference, correct, parsed):
    judged = Numeric(Numeric.Config(**settings)).judge({"text": text, "reference": reference})
    assert (judged.correct, judged.parsed) == (correct, parsed)


def test_a_reference_without_its_number_is_told():
    with pytest.raises(ValueError, match="has no final answer behind '####'"):
        Numeric(Numeric.Config(marker="####")).judge({"text": "#### 1", "reference": "1"})


def test_spans_overlap():
    metric = SpanF1(SpanF1.Config(least=0.6))
    assert metric.judge({"text": "the tall old tower", "reference": "a tall tower"}).correct
    assert not metric.judge({"text": "a tower in a far away town", "reference": "a tall tower"}).correct
    assert not metric.judge({"text": "", "reference": "a tower"}).parsed
