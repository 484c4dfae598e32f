"""Scores, pairs and the balance of lengths."""

import pytest

from vitrail.curation.preference_pairs import (
    GRID,
    Pair,
    Scored,
    balance_lengths,
    build_pairs,
    length_gap,
    response_score,
)


def scored(*scores, prompt="p"):
    return [Scored(prompt, f"answer {number}", score) for number, score in enumerate(scores)]


def test_a_score_counts_what_is_rejected_and_not_what_is_said():
    assert response_score([True, True, False, False, True]) == -2
    assert response_score([True, True, False, False, True, True]) == -2
    assert response_score([]) == 0


def test_pairs_need_a_difference_and_few_of_a_prompt_are_kept():
    answers = scored(*range(10))
    assert len(build_pairs(answers, per_prompt=100)) == 45
    kept = build_pairs(answers, per_prompt=2, seed=3)
    assert len(kept) == 2 and kept == build_pairs(answers, per_prompt=2, seed=3)
    assert any(kept != build_pairs(answers, per_prompt=2, seed=seed) for seed in range(5))
    assert all(pair.chosen.score - pair.rejected.score >= 1 for pair in kept)
    assert build_pairs(scored(-1, -1, -1)) == []
    assert len(build_pairs(scored(0, -1, -3), min_diff=2, per_prompt=9)) == 2
    same = [Scored("p", "a", 0), Scored("p", "a ", -1)]
    assert build_pairs(same) == []


@pytest.mark.parametrize(
    ("answers", "settings", "why"),
    [
        ([], {}, "there are no answers to pair"),
        (scored(0) + scored(-1, prompt="q"), {}, r"answers to 2 prompts \('p', 'q'\)"),
        (scored(0, -1), {"min_diff": 0}, "min_diff is 0"),
        (scored(0, -1), {"per_prompt": 0}, "per_prompt is 0"),
    ],
)
def test_what_is_no_group_is_refused(answers, settings, why):
    with pytest.raises(ValueError, match=why):
        build_pairs(answers, **settings)


def pair(chosen, rejected):
    return Pair(Scored("p", "c " * chosen, 0), Scored("p", "r " * rejected, -1))


def test_the_best_threshold_of_the_grid_is_taken():
    pairs = [pair(2, 10), pair(3, 10), pair(9, 10), pair(10, 10), pair(12, 10), pair(5, 10)]
    found = balance_lengths(pairs)
    gaps = {}
    for r in GRID:
        kept = [one for one in pairs if one.shortening <= r]
        gaps[r] = length_gap(kept) if kept else float("inf")
    assert found.gap_after == min(gaps.values()) == gaps[found.threshold]
    assert found.gap_after < found.gap_before == length_gap(pairs)
    assert found.dropped == len(pairs) - len(found.pairs) > 0


def test_what_is_balanced_already_stays():
    pairs = [pair(8, 10), pair(12, 10)]
    found = balance_lengths(pairs)
    assert found.pairs == pairs and found.threshold is None and found.dropped == 0
    # Nothing is ever worse than before, also where the grid alone would be.
    longer = [pair(0, 10), pair(14, 10)]
    assert balance_lengths(longer).gap_after <= length_gap(longer)


def test_equal_answers_are_no_pairs():
    equal = Pair(Scored("p", "a", 0), Scored("p", "a", -1))
    assert balance_lengths([equal, pair(9, 10)]).pairs == [pair(9, 10)]
    with pytest.raises(ValueError, match="the two answers are equal"):
        balance_lengths([equal])
    with pytest.raises(ValueError, match="no pairs to balance"):
        balance_lengths([])
