"""Is a written question new, or one that is there already in other words? ROUGE-L against all that are there.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), as LLM2LLM (arXiv 2403.15042) filters with it:
with LCS the longest common subsequence of words, P = LCS / words of one text, R = LCS / words of the other,

    ROUGE-L = 2 P R / (P + R)

The same question about another picture is another question, so that only questions with one picture, or without any,
are compared.

**Why not the package rouge-score**: it keeps nothing but ASCII letters and digits, so that every Chinese, Arabic or
Russian question is empty and nothing is ever similar. Words here are Unicode's; on ASCII text the figures are equal
(without stemming).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Signs of scripts that put no spaces between words, as the inside of a regular expression's class."""
_UNSPACED = re.compile(rf"[{UNSPACED}]|[^\W_]")
KEPT = 10
"""How many of the most similar questions are noted."""


def words(text: str) -> list[str]:
    """Lower-case words; scripts that put no spaces between words are taken character by character."""
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        unspaced = any("\u0e00" <= sign <= "\u0eff" or "\u3040" <= sign <= "\u9fff" for sign in word)
        found += _UNSPACED.findall(word) if unspaced else [word]
    return found


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, by a row of bits for each word of ``one`` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    whole = (1 << len(one)) - 1
    row = whole
    for word in other:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & whole
    return len(one) - row.bit_count()


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F-measure of two lists of words, between 0 and 1; 0 if one of them is empty."""
    common = common_length(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


@dataclass(frozen=True)
class Likeness:
    """How alike a question is to those that are there: the most, the mean, and the most similar ones with it."""

    most: float
    mean: float
    similar: tuple[tuple[str, float], ...] = ()


class RougeNovelty:
    """Questions that are there; a new one is refused where its ROUGE-L with any of them exceeds ``threshold``.

    ValueError for a threshold outside (0, 1].
    """

    def __init__(self, threshold: float = 0.95) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is {threshold}; give a number above 0 and up to 1 (0.95 is usual)")
        self.threshold = threshold
        self._there: dict[str | None, list[tuple[str, list[str]]]] = {}

    def add(self, question: str, picture: str | None = None) -> None:
        """A question that is there, and what identifies its picture."""
        self._there.setdefault(picture, []).append((question, words(question)))

    def likeness(self, question: str, picture: str | None = None) -> Likeness:
        """How alike ``question`` is to those about the same picture."""
        own = words(question)
        scores = [(text, rouge_l(own, there)) for text, there in self._there.get(picture, ())]
        if not scores:
            return Likeness(0.0, 0.0)
        ordered = sorted(scores, key=lambda one: -one[1])
        kept = tuple((text, round(score, 4)) for text, score in ordered[:KEPT])
        return Likeness(ordered[0][1], sum(score for _, score in scores) / len(scores), kept)

    def accepts(self, question: str, picture: str | None = None) -> tuple[bool, Likeness]:
        """Whether it is new, and how alike it is to what is there; a new one is there from then on."""
        found = self.likeness(question, picture)
        new = found.most <= self.threshold
        if new:
            self.add(question, picture)
        return new, found


__all__ = ["UNSPACED", "Likeness", "RougeNovelty", "common_length", "rouge_l", "words"]
