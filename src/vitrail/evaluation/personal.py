"""Scores of personalised answers and of retrieved evidence, from what was said and what is true.

Names in captions, yes or no about a concept, and answers to questions: RAP (arXiv 2410.13360). Pictures kept out of
pictures retrieved, and WebQA's accuracy by category: RagLLaVA (arXiv 2407.21439).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from vitrail.statistics.intervals import Estimate, proportion

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DOMAINS = {
    "color": "orange brown pink white black gray grey purple red yellow blue violet green silver maroon beige golden "
    "gold ivory cream turquoise tan lavender bronze",
    "shape": "globular octagon ring hoop octagonal circle square rectangle rectangular triangle triangular oval round "
    "circular cylinder cylindrical cone cube spherical sphere star dome diamond heart hexagon hexagonal pentagon",
    "yesno": "yes no",
}


@dataclass(frozen=True)
class Agreement:
    """Precision and recall over all items together (micro), and their harmonic mean. 0 where nothing was said."""

    right: int
    said: int
    true: int

    @property
    def precision(self) -> float:
        """Of what was said, the share that is true."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """Of what is true, the share that was said."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self.right / (self.said + self.true) if self.said + self.true else 0.0


def agreement(kept: Sequence[Collection[str]], gold: Sequence[Collection[str]]) -> Agreement:
    """Of each question the evidence that was kept, and that which is right. ValueError for unequal numbers of them."""
    if len(kept) != len(gold):
        raise ValueError(f"{len(kept)} questions have kept evidence and {len(gold)} gold; give both for each")
    pairs = [(set(one), set(other)) for one, other in zip(kept, gold, strict=True)]
    return Agreement(
        sum(len(one & other) for one, other in pairs),
        sum(len(one) for one, _ in pairs),
        sum(len(other) for _, other in pairs),
    )


def names_said(text: str, names: Collection[str]) -> set[str]:
    """Which of ``names`` a text says, with or without angle brackets, as whole words, upper or lower case."""
    return {
        name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, flags=re.IGNORECASE)
    }


def name_scores(
    texts: Sequence[str], present: Sequence[Collection[str]], names: Collection[str]
) -> Agreement:
    """Names that captions say against those of the concepts that are there; ``names``: all that are remembered."""
    return agreement([names_said(text, names) for text in texts], present)


@dataclass(frozen=True)
class Recognition:
    """Accuracy where the concept is there, where it is not, and the mean of the two."""

    positive: Estimate
    negative: Estimate

    @property
    def mean(self) -> float:
        """Of both accuracies, whatever the numbers of questions."""
        return (self.positive.value + self.negative.value) / 2


def recognition_scores(said: Sequence[bool | None], true: Sequence[bool]) -> Recognition:
    """Yes (True), no, or neither (None: wrong), against the truth. ValueError where one kind of question is missing."""
    if len(said) != len(true) or not any(true) or all(true):
        raise ValueError(
            f"{len(said)} answers to {len(true)} questions, {sum(true)} of them about what is there; give one answer "
            "each, and questions of both kinds"
        )
    kinds = (
        [one is kind for one, other in zip(said, true, strict=True) if other is kind]
        for kind in (True, False)
    )
    return Recognition(*map(proportion, kinds))


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, blanks as one, number words up to ten as digits."""
    text = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    words = _ARTICLES.sub(" ", text).split()
    return " ".join(str(_DIGITS.index(word)) if word in _DIGITS else word for word in words)


def normalised_match(said: str, true: str) -> bool:
    """Whether two answers are the same once normalised."""
    return normalised(said) == normalised(true)


def webqa_accuracy(
    said: str, true: str, category: str, lemma: Callable[[str], str] = lambda word: word
) -> float:
    """WebQA's accuracy of an answer, from 0 to 1.

    ``color``, ``shape``, ``number`` and ``YesNo``: F1 of the words of that closed domain, if the true answer has any;
    other categories: the share of the true answer's words that were said. ``lemma`` brings words to their base form
    (the published one is spaCy's; by default they stay).
    """
    words, gold = ([lemma(word) for word in normalised(text).split()] for text in (said, true))
    domain = category.lower().replace("/", "").replace("colour", "color")
    if domain in (*_DOMAINS, "number"):
        inside = [[word for word in one if _in_domain(word, domain)] for one in (words, gold)]
        if inside[1]:
            common = sum((Counter(inside[0]) & Counter(inside[1])).values())
            return 2 * common / (len(inside[0]) + len(inside[1]))
    common = sum((Counter(words) & Counter(gold)).values())
    return common / len(gold) if gold else 0.0


def _in_domain(word: str, domain: str) -> bool:
    return word.isdigit() if domain == "number" else word in _DOMAINS[domain].split()
