"""From scored answers to preferences, as RLAIF-V (arXiv 2405.17220) does.

The score of an answer is S = (claims accepted) − (claims) = −(claims rejected), so that a longer answer with as many
mistakes is worth as much. Any two answers to one prompt whose scores differ by ``min_diff`` make a pair; a few of a
prompt's pairs are kept. Then pairs whose chosen answer is much shorter go, or shortness would be learnt: with

    d = (words of the rejected answer − words of the chosen one) / words of the rejected one

pairs with d > r are dropped, for the r of a grid that brings the mean lengths of both sides nearest to each other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

GRID = tuple(round(0.02 * step, 2) for step in range(50))
"""0, 0.02, … 0.98."""


@dataclass(frozen=True)
class Scored:
    """An answer to the prompt ``prompt`` (what identifies it), and its score; higher is better."""

    prompt: str
    text: str
    score: float


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the chosen one of the higher score."""

    chosen: Scored
    rejected: Scored

    @property
    def shortening(self) -> float:
        """By what share of the rejected answer's words the chosen one is shorter."""
        return (_words(self.rejected) - _words(self.chosen)) / max(1, _words(self.rejected))


@dataclass(frozen=True)
class Balance:
    """``threshold``: the r taken (None: nothing was dropped for its length); relative gaps of the mean lengths."""

    pairs: list[Pair]
    threshold: float | None
    gap_before: float
    gap_after: float
    dropped: int


def response_score(accepted: Sequence[bool]) -> int:
    """Minus the claims that were rejected. An answer without a claim scores 0."""
    return -sum(not one for one in accepted)


def build_pairs(
    answers: Sequence[Scored], *, min_diff: float = 1, per_prompt: int = 2, seed: int | str = 0
) -> list[Pair]:
    """At most ``per_prompt`` pairs of the answers to one prompt, drawn from all that differ by ``min_diff``.

    Equal texts make no pair. ValueError for no answers, answers to different prompts, or ``min_diff`` of 0 or less.
    """
    if not answers:
        raise ValueError("there are no answers to pair; sample some for each prompt")
    prompts = sorted({one.prompt for one in answers})
    if len(prompts) > 1:
        raise ValueError(
            f"answers to {len(prompts)} prompts ({prompts[0]!r}, {prompts[1]!r}) stand in one group; a pair answers one"
        )
    if not min_diff > 0:
        raise ValueError(f"min_diff is {min_diff}; answers of equal score make no pair, give 1 or more")
    if per_prompt < 1:
        raise ValueError(f"per_prompt is {per_prompt}; give 1 or more")
    found = []
    for one, other in combinations(answers, 2):
        better, worse = (one, other) if one.score >= other.score else (other, one)
        if better.score - worse.score >= min_diff and better.text.strip() != worse.text.strip():
            found.append(Pair(better, worse))
    if len(found) > per_prompt:
        kept = random.Random(f"{seed}/{prompts[0]}").sample(range(len(found)), per_prompt)
        found = [found[place] for place in sorted(kept)]
    return found


def balance_lengths(pairs: Sequence[Pair], grid: Sequence[float] = GRID) -> Balance:
    """The pairs that are left for the threshold that brings the mean lengths nearest to each other.

    Of equally good thresholds the largest is taken, which keeps most. ValueError for no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs to balance")
    differ = [pair for pair in pairs if pair.chosen.text.strip() != pair.rejected.text.strip()]
    if not differ:
        raise ValueError("in every pair the two answers are equal; there is nothing to prefer")
    best: tuple[float, float | None, list[Pair]] = (length_gap(differ), None, differ)
    for threshold in sorted(grid, reverse=True):
        kept = [pair for pair in differ if pair.shortening <= threshold]
        if kept and length_gap(kept) < best[0]:
            best = length_gap(kept), threshold, kept
    gap, chosen, kept = best
    return Balance(kept, chosen, length_gap(differ), gap, len(pairs) - len(kept))


def length_gap(pairs: Sequence[Pair]) -> float:
    """How far the mean length of chosen answers is from that of rejected ones, as a share of the latter."""
    chosen = sum(_words(pair.chosen) for pair in pairs)
    rejected = sum(_words(pair.rejected) for pair in pairs)
    return abs(chosen - rejected) / max(1, rejected)


def _words(answer: Scored) -> int:
    return len(answer.text.split())


__all__ = [
    "GRID",
    "Balance",
    "Pair",
    "Scored",
    "balance_lengths",
    "build_pairs",
    "length_gap",
    "response_score",
]
