import re

import pytest

from vitrail.reporting import Gallery, Question


def question(name, truth, prediction, likelihoods=None, **more):
    return Question(
        name, options=["a", "b", "c"], truth=truth, prediction=prediction, likelihoods=likelihoods, **more
    )


def test_confident_mistakes_come_first():
    cards = [
        question("right", 0, 0, [0.9, 0.05, 0.05]),
        question("unsure mistake", 0, 1, [0.3, 0.4, 0.3]),
        question("no truth", None, 1),
        question("sure mistake", 0, 2, [0.1, 0.1, 0.8]),
        question("unread", 0, None),
    ]
    html = Gallery(cards).html()
    assert re.findall(r"<h3>(.*?)</h3>", html) == [
        "sure mistake",
        "unsure mistake",
        "unread",
        "no truth",
        "right",
    ]
    assert [card.outcome for card in cards] == ["right", "wrong", "unknown", "wrong", "wrong"]


def test_truth_and_answer_are_marked():
    html = Gallery([question("q", 0, 1, [0.25, 0.5, 0.25])]).html()
    options = re.findall(r'<li class="(\w* ?\w*)">.*?<span class="option">(\w)</span>(.*?)</li>', html, re.S)
    assert [(name, style.split()) for style, name, _ in options] == [
        ("a", ["truth"]),
        ("b", ["chosen"]),
        ("c", []),
    ]
    assert ">truth<" in options[0][2] and ">answer<" in options[1][2] and "50 %" in options[1][2]


def test_filters_offer_what_is_there():
    cards = [question("q", 0, n % 2, kind=["what", "where"][n % 2], group="known") for n in range(4)]
    html = Gallery(cards).html()
    assert 'data-filter="kind"' in html and "<option>where</option>" in html
    assert 'data-filter="outcome"' in html and 'data-filter="group"' not in html
    assert 'data-kind="where"' in html and 'data-outcome="right"' in html


def test_open_answers_carry_their_outcome():
    card = Question("Describe it.", reference="a cat", answer="a dog", right=False)
    html = Gallery([card]).html()
    assert card.outcome == "wrong" and "a dog" in html and "a cat" in html


def test_impossible_questions_are_refused():
    with pytest.raises(ValueError, match="truth is 3, but there are 3 options"):
        question("q", 3, 0)
    with pytest.raises(ValueError, match="2 likelihoods for 3 options"):
        question("q", 0, 0, [0.5, 0.5])
