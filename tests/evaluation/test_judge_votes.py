"""Votes of a judge: the majority, the mean, replies without a number, the report on descriptions."""

from __future__ import annotations

import itertools

import pytest

from vitrail.evaluation.judge_votes import JudgeVoter, description_report, judged_description, matches_answer


def test_five_equal_rounds_are_one():
    assert JudgeVoter(lambda _: "1")("?") == JudgeVoter(lambda _: "1", rounds=1)("?") == 1
    replies = itertools.cycle(["1", "0", "It is 1.", "no idea", "0"])
    assert JudgeVoter(lambda _: next(replies))("?") == 1, "the earliest of equals"
    replies = itertools.cycle(["2", "0", "2", "1", "9"])
    assert JudgeVoter(lambda _: next(replies), rule="mean")("?", (0, 1, 2)) == 5 / 4
    with pytest.raises(ValueError, match="none of 5 replies"):
        JudgeVoter(lambda _: "yes")("?")
    with pytest.raises(ValueError, match="rounds is 0"):
        JudgeVoter(str, rounds=0)
    assert "Right answer: dark" in matches_answer("How?", "dark", "It is dark.")


def test_descriptions():
    asked = []

    def judge(prompt):
        asked.append(prompt)
        return "2" if "completeness" in prompt else "1" if "preciseness" in prompt else "0"

    judged = [judged_description("It is dark.", "A dark picture.", JudgeVoter(judge)) for _ in range(3)]
    found = description_report(judged)
    assert len(asked) == 45 and found["completeness"]["P2"] == 1 and found["preciseness"]["mean"] == 1
    assert found["total"]["mean"] == 3 and sum(found["relevance"][f"P{n}"] for n in range(3)) == 1
    with pytest.raises(ValueError, match="golden text is empty"):
        judged_description("It is dark.", " ", JudgeVoter(judge))
