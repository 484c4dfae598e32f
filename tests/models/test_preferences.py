"""Preferences: what is learnt of them, what is refused, and their rows in a batch."""

import numpy as np
import pytest

from conftest import chat
from vitrail.data.records import Message
from vitrail.models.preferences import ROWS, PreferenceCollator, encode_preference


def preference(*turns, worse="a dog", **fields):
    said = chat(*turns)
    return said.model_copy(update={"rejected": (Message(role="assistant", content=worse),), **fields})


def test_the_answers_alone_are_learnt(nano):
    pair = encode_preference(nano.encoder, preference("What?", "a cat", "And?", "a tree"))
    for row, answer in zip(pair.both, ("a tree", "a dog"), strict=True):
        learnt = row.labels[row.labels != -100].tolist()
        assert learnt == nano.encoder.answer_ids(answer)
    same = min(int((row.labels == -100).argmin()) for row in pair.both)
    assert np.array_equal(pair.chosen.input_ids[:same], pair.rejected.input_ids[:same])


def test_a_batch_has_two_rows_each(nano):
    collator = PreferenceCollator.of(nano.collator("right"))
    pairs = [encode_preference(nano.encoder, preference("What?", answer)) for answer in ("a cat", "two")]
    batch = collator(pairs)
    assert batch[ROWS].tolist() == [0, 1, 0, 1]
    assert batch["input_ids"].shape[0] == 4 and batch["pixel_values"].shape[0] == 4
    assert pairs[0].length == sum(row.length for row in pairs[0].both)
    assert "teacher.reference_logps" not in batch


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (chat("What?", "a cat"), "has no rejected answer"),
        (preference("What?", "a dog"), "are equal"),
        (preference("What?"), "last turn is the user's"),
        (preference("What?", "a cat", meta={"reference_logps": [1.0]}), "two finite numbers"),
        (preference("What?", "a cat", rejected=(Message(role="user", content="x"),)), "turn of the user's"),
    ],
)
def test_what_is_no_preference_is_refused(nano, record, message):
    with pytest.raises(ValueError, match=message):
        encode_preference(nano.encoder, record)
