"""EDA's four operations on a text: how many words change, and what stays."""

import random

import pytest

from vitrail.curation.eda import OPERATIONS, STOP_WORDS, augmented, divided

QUESTION = "What colour is the big dog to the left of the tall tree, and who holds it by a rope?"
MEANINGS = {"dog": ("hound", "canine friend"), "big": ("large",), "tree": ("plant",), "rope": ("cord",)}


def said(word):
    return MEANINGS.get(word, ())


def words(text):
    return divided(text)[0]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_no_more_words_change_than_alpha_says(alpha):
    before = words(QUESTION)
    n = max(1, int(alpha * len(before)))
    for seed in range(40):
        found = {
            name: words(augmented(QUESTION, name, alpha, random.Random(seed), said)) for name in OPERATIONS
        }
        replaced = augmented(QUESTION, "synonyms", alpha, random.Random(seed), said)
        gone = [word for word in before if word not in words(replaced)]
        assert 1 <= len(gone) <= n and not STOP_WORDS & set(gone)
        assert sorted(found["swap"]) == sorted(before)
        assert sum(one != other for one, other in zip(found["swap"], before, strict=True)) <= 2 * n
        new = list(found["insertion"])
        for word in before:
            new.remove(word)
        assert 1 <= len(new) <= 2 * n  # a phrase of two words is one synonym
        rest = iter(before)
        assert all(word in rest for word in found["deletion"]) and 0 < len(found["deletion"]) < len(before)


def test_words_leave_as_often_as_alpha_says_and_one_always_stays():
    text = " ".join(f"w{n}" for n in range(200))
    kept = [len(words(augmented(text, "deletion", 0.2, random.Random(seed)))) for seed in range(50)]
    assert abs(sum(kept) / len(kept) - 160) < 3
    for seed in range(50):
        assert len(words(augmented("Two words?", "deletion", 0.99, random.Random(seed)))) == 1
        assert augmented("Who?", "deletion", 0.99, random.Random(seed)) == "Who?"
        assert augmented("?!", "swap", 0.5, random.Random(seed)) == "?!"


def test_punctuation_capitals_and_lines_stay_in_their_places():
    assert augmented("Red dog?", "swap", 0.1, random.Random(0)) == "dog Red?"
    assert augmented("Dog?", "synonyms", 0.1, random.Random(1), lambda word: ("hound",)) == "Hound?"
    assert augmented("(Big) it", "insertion", 0.1, random.Random(0), lambda word: ("old",)) in (
        "(old Big) it", "(Big) old it", "(Big) it old")  # fmt: skip
    seen = {augmented("a b,\nc d.", "deletion", 0.1, random.Random(seed)) for seed in range(60)}
    assert {"b,\nc d.", "a,\nc d.", "a b,\nd.", "a b,\nc."} <= seen
    assert words("It's a well-known 東京!") == ["It's", "a", "well-known", "東", "京"]
