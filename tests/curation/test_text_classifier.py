"""Text as classifiers read it, classifiers, the operation, and labels by a language model."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.curation.math_text import normalise_math_text
from vitrail.curation.operations.text_class import TextClass
from vitrail.curation.score_labels import LLMScoreLabeller, bootstrap_classifier, parse_score
from vitrail.curation.text_classifier import TextClassifier, load_classifier
from vitrail.data.records import Document, Text
from vitrail.inference.answerers import FunctionAnswerer


def texts(mathematical, n, seed):
    draw = random.Random(seed)
    words = (
        ["equation", "theorem", "solve", "sum", "root"]
        if mathematical
        else ["garden", "river", "song", "bread", "road"]
    )
    both = ["the", "of", "a", "is", "and", "we", "it"]
    return [
        " ".join(draw.choice(words if draw.random() < 0.3 else both) for _ in range(30)) for _ in range(n)
    ]


@pytest.fixture(scope="module")
def classifier():
    return TextClassifier.fit(texts(True, 60, 1), texts(False, 60, 2), buckets=4096)


def test_numbers_become_one_token_and_names_keep_their_digits():
    assert normalise_math_text("x1 = 3.14 and 27") == "x1 = <NUM> and <NUM>"
    assert (
        normalise_math_text("In\n1,024 cases --- 2x, 1.5e-3 ____ ☃ done")
        == "in <NUM> cases - <NUM>x, <NUM> _ done"
    )
    assert normalise_math_text("a" * 101 + " b " + "数" * 101) == "b " + "数" * 101
    assert normalise_math_text("Roots are", lambda text: ["root", "be"]) == "root be"
    with pytest.raises(ValueError, match="text must be a string, but it is a int"):
        normalise_math_text(3)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("0123456789.,e+-_<>NUMx ")), max_size=40))
def test_normalising_again_changes_nothing(text):
    once = normalise_math_text(text)
    assert normalise_math_text(once) == once


def test_a_classifier_tells_and_survives_being_saved(classifier, tmp_path):
    held = texts(True, 20, 3) + texts(False, 20, 4)
    found = classifier.predict_proba(held)
    assert (found[:20] > 0.5).all() and (found[20:] < 0.5).all()
    classifier.save(tmp_path / "made")
    again = load_classifier(tmp_path / "made")
    assert np.array_equal(again.predict_proba(held), found)
    alone = np.concatenate([again.predict_proba([text]) for text in held])
    assert np.array_equal(alone, found) and again.predict_proba([]).shape == (0,)
    for wrong, said in (
        ({"path": tmp_path}, "holds no classifier"),
        ({"path": tmp_path / "none"}, "there is no classifier"),
        ({"path": tmp_path / "made/classifier.json"}, "name the label"),
        ({"path": tmp_path / "made", "label": "x"}, "leave it out"),
    ):
        with pytest.raises(ValueError, match=said):
            load_classifier(**wrong)
    with pytest.raises(ValueError, match="negatives is empty"):
        TextClassifier.fit(["a"], [])


def test_a_lower_threshold_never_removes_a_document(classifier):
    documents = [
        Document(id=str(n), content=(Text(text=t),))
        for n, t in enumerate(texts(True, 9, 5) + texts(False, 9, 6))
    ]
    before: set[str] = set()
    for threshold in (1.0, 0.8, 0.4, 0.1, 0.0):
        operation = TextClass(TextClass.Config(model="m", threshold=threshold), classifier)
        kept = {one.id for one in documents if operation(one).document is not None}
        assert before <= kept
        before = kept
    assert len(before) == 18
    score = TextClass(TextClass.Config(model="m", score="p"), classifier)(documents[0]).document.meta["p"]
    assert 0.4 <= score <= 1
    with pytest.raises(ValueError, match="less than or equal to 1"):
        TextClass.Config(model="m", threshold=1.5)
    with pytest.raises(ValueError, match=r"text_class\.model: there is no classifier"):
        TextClass(TextClass.Config(model="nowhere"))


@pytest.mark.parametrize(
    "answer, score",
    [
        ("It proves a lemma. Score: 7", 7),
        ("Score: 3. No: a better look. **Score:** 8/10", 8),
        ("the score is 6.5 out of 10", 6),
        ("9", 9),
        ("10/10.", 10),
        ("Score: 4/5", None),
        ("Score: 11", None),
        ("There are 3 formulas and 4 proofs.", None),
        ("", None),
    ],
)
def test_scores_are_read_and_what_is_none_is_not_zero(answer, score):
    assert parse_score(answer) == score


def test_a_model_labels_what_a_classifier_learns():
    held = texts(True, 20, 7) + texts(False, 20, 8)

    def answer(chat):
        asked = chat.messages[-1].content[0].text
        return (
            "no idea"
            if held[0] in asked
            else "Score: 8"
            if "theorem" in asked.split("The extract:")[1]
            else "Score: 0"
        )

    labeller = LLMScoreLabeller(FunctionAnswerer(answer))
    made, labels = bootstrap_classifier(held, labeller, texts(False, 30, 9), buckets=4096)
    assert labels.unscored == 1 and labels.scores[0] is None and labels.scores[-1] == 0
    assert (made.predict_proba(texts(True, 10, 10)) > 0.5).all()
    with pytest.raises(ValueError, match=r"no text is scored 9 or more \(1 of 40 have no score\)"):
        bootstrap_classifier(held, labeller, ["a"], pos_threshold=9)
    with pytest.raises(ValueError, match=r"prompt has no \{text\}"):
        LLMScoreLabeller(FunctionAnswerer(answer), "score it")
