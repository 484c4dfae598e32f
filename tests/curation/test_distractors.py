"""Wrong options are near the right one and never mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.curation.distractors import similar_answers, written_answers
from vitrail.inference.answerers import FunctionAnswerer

PLACES = {"red": 0.0, "crimson": 0.05, "orange": 0.4, "yellow": 0.8, "blue": 2.0, "Red.": 0.0}


def encode(texts):
    return np.array([[np.cos(PLACES[text]), np.sin(PLACES[text])] for text in texts])


def test_nearest_that_mean_something_else():
    pool = ["blue", "yellow", "crimson", "orange", "Red.", "orange"]
    assert similar_answers("red", pool, 2, encode=encode) == ["orange", "yellow"]
    with pytest.raises(ValueError, match="only 3 answers"):
        similar_answers("red", pool, 4, encode=encode)
    with pytest.raises(ValueError, match="pool has 1 other"):
        similar_answers("red", ["blue"], 2, encode=encode)


def test_a_model_writes_them():
    said = FunctionAnswerer(lambda chat: "1. orange\n- Red.\n* yellow\n\nblue")
    assert written_answers(said, "Which?", "red", 3) == ["orange", "yellow", "blue"]
    with pytest.raises(ValueError, match="gave 3 wrong answers of 4"):
        written_answers(said, "Which?", "red", 4)
