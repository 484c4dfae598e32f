"""ROUGE-L against a plain table of the longest common subsequence, and what counts as new."""

import random

import pytest

from vitrail.curation.novelty import RougeNovelty, common_length, rouge_l, words


def plain_common_length(one, other):
    """The textbook table."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_bits_equal_the_table():
    chance = random.Random(0)
    for _ in range(60):
        one, other = (chance.choices("abcd", k=chance.randint(0, 90)) for _ in range(2))
        assert common_length(one, other) == plain_common_length(one, other)


def test_values_by_hand():
    # "police killed the gunman" / "police kill the gunman": LCS 3 of 4 and 4 (Lin 2004).
    assert rouge_l(words("police killed the gunman"), words("police kill the gunman")) == 0.75
    assert rouge_l(words("the gunman kill police"), words("police killed the gunman")) == 0.5
    assert rouge_l([], words("a")) == 0.0


def test_other_scripts_have_words():
    assert words("Сколько птиц?") == ["сколько", "птиц"]
    assert words("有几只鸟 in it") == ["有", "几", "只", "鸟", "in", "it"]
    assert rouge_l(words("有几只鸟"), words("有几只猫")) == 0.75


def test_a_copy_is_refused_and_what_is_just_below_the_threshold_is_kept():
    novelty = RougeNovelty(0.95)
    seed = " ".join(f"w{i}" for i in range(20))
    novelty.add(seed)
    assert not novelty.accepts(f"{seed}!")[0]
    # 18 of 20 and 19 words in order: 2 · 18 / 39 = 0.923; then 19 of 20 and 20: 0.95, which does not exceed it.
    shorter = " ".join(["x", *seed.split()[:18]])
    new, alike = novelty.accepts(shorter)
    assert new and alike.most == pytest.approx(36 / 39) and alike.similar[0][0] == seed
    assert novelty.accepts(" ".join([*seed.split()[:19], "y"]))[0]
    # Whatever was taken is there from then on.
    assert not novelty.accepts(shorter)[0]


def test_a_question_about_another_picture_is_another_question():
    novelty = RougeNovelty()
    novelty.add("What is this?", "picture-1")
    assert not novelty.accepts("What is this?", "picture-1")[0]
    assert novelty.accepts("What is this?", "picture-2")[0] and novelty.accepts("What is this?")[0]


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_outside_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold is .*; give a number above 0 and up to 1"):
        RougeNovelty(threshold)
