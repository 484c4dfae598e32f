"""Grounding in two steps: phrases to boxes, groups kept apart, replies that cannot be read."""

from __future__ import annotations

import pytest

from conftest import picture
from vitrail.inference.answerers import FunctionAnswerer
from vitrail.inference.stepwise_grounding import StepwiseGrounder

IMAGES = [picture(0), picture(1)]


def detector(image, candidate_labels, threshold):
    side = 10 if candidate_labels == ["a dog"] else 20
    found = [(0.9, side), (0.1, 5)]
    return [
        {
            "score": score,
            "label": candidate_labels[0],
            "box": {"xmin": 1, "ymin": 2, "xmax": 1 + w, "ymax": 2 + w},
        }
        for score, w in found
    ]


def test_each_phrase_is_drawn_in_its_picture_and_group():
    asked = []

    def say(chat):
        asked.append(chat)
        return 'Here: {"1": ["a dog", "a cat"], "2": ["", "a cat"]}'

    found = StepwiseGrounder(FunctionAnswerer(say), detector)(IMAGES, "the {animals}")
    assert found.boxes == (
        (0, (1, 2, 10, 10), 1, 0.9),
        (0, (1, 2, 20, 20), 2, 0.9),
        (1, (1, 2, 20, 20), 2, 0.9),
    )
    assert found.parsed and found.calls == 4 and len(asked[0].images) == 2
    assert asked[0].messages[0].text.startswith("the {animals}")


def test_replies_without_phrases():
    for reply in ("no", '{"1": "a dog"}', "{"):
        found = StepwiseGrounder(FunctionAnswerer(lambda chat, reply=reply: reply), detector)(IMAGES, "x")
        assert not found.parsed and not found.boxes
    with pytest.raises(ValueError, match="needs two"):
        StepwiseGrounder(FunctionAnswerer(str), detector)(IMAGES[:1], "x")
    with pytest.raises(ValueError, match="threshold is 2"):
        StepwiseGrounder(FunctionAnswerer(str), detector, 2)
