"""EDA, a text in slightly other words (Wei and Zou, "EDA: Easy Data Augmentation", arXiv 1901.11196).

For a text of l words and a share α, with n = max(1, ⌊α l⌋):

    synonyms    n words that are no stop words become one of their synonyms
    insertion   n times a synonym of one of the words enters at a random place
    swap        n times two words change their places
    deletion    every word leaves with probability α

Deviations: the authors take all but letters out of the text and write it small; here punctuation and capitals stay
where they stand. They replace a word wherever it stands, here it is once, as the paper says. Deletion that takes no
word takes one, as the others do; like theirs it never takes the last.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from vitrail.curation.novelty import UNSPACED

Synonyms = Callable[[str], tuple[str, ...]]
"""Words of like meaning."""
OPERATIONS = ("synonyms", "insertion", "swap", "deletion")
_STOP_WORDS = """\
a about above after again against all am an and any are as at be because been before being below between
both but by can cannot could did do does doing don down during each either else ever few for from further
had has have having he her here hers herself him himself his how i if in into is it its itself just me more
most must my myself neither no nor not now of off on once only or other our ours ourselves out over own same
shall she should so some such than that the their theirs them themselves then there these they this those
through to too under until up very was we were what when where which while who whom whose why will with
would you your yours yourself
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that are neither replaced nor a source of synonyms."""
_LETTER = rf"(?![{UNSPACED}])[^\W_]"
_WORD = re.compile(rf"[{UNSPACED}]|(?:{_LETTER})+(?:['’-](?:{_LETTER})+)*")


def augmented(
    text: str, operation: str, alpha: float, draws: random.Random, synonyms: Synonyms | None = None
) -> str:
    """``text`` after one of :data:`OPERATIONS`; as it was where that can change nothing.

    ``synonyms``: needed by the first two. What is drawn depends on ``draws`` alone.
    """
    words, between = divided(text)
    if not words:
        return text
    n = max(1, int(alpha * len(words)))
    if operation == "swap":
        _swap(words, n, draws)
    elif operation == "deletion":
        _delete(words, between, alpha, draws)
    else:
        assert synonyms is not None and operation in OPERATIONS
        if operation == "synonyms":
            _replace(words, n, draws, synonyms)
        else:
            _insert(words, between, n, draws, synonyms)
    return between[0] + "".join(word + gap for word, gap in zip(words, between[1:], strict=True))


def divided(text: str) -> tuple[list[str], list[str]]:
    """The words, and what stands in front of, between and behind them (one more)."""
    found = list(_WORD.finditer(text))
    edges = [0, *(place for one in found for place in one.span()), len(text)]
    return [one.group() for one in found], [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _replace(words: list[str], n: int, draws: random.Random, synonyms: Synonyms) -> None:
    places = [place for place, word in enumerate(words) if word.casefold() not in STOP_WORDS]
    draws.shuffle(places)
    for place in places:
        found = synonyms(words[place])
        if found and n:
            words[place], n = _capital(draws.choice(found), words[place]), n - 1


def _insert(words: list[str], between: list[str], n: int, draws: random.Random, synonyms: Synonyms) -> None:
    known = [synonyms(word) for word in words if word.casefold() not in STOP_WORDS]
    known = [one for one in known if one]
    for _ in range(n if known else 0):
        new, place = draws.choice(draws.choice(known)), draws.randint(0, len(words))
        words.insert(place, new)
        between.insert(min(place + 1, len(between) - 1), " ")


def _swap(words: list[str], n: int, draws: random.Random) -> None:
    for _ in range(n):
        one = draws.randrange(len(words))
        others = [place for place, word in enumerate(words) if word != words[one]]
        if others:
            other = draws.choice(others)
            words[one], words[other] = words[other], words[one]


def _delete(words: list[str], between: list[str], alpha: float, draws: random.Random) -> None:
    if len(words) == 1:
        return
    gone = [draws.random() < alpha for _ in words]
    if all(gone) or not any(gone):
        one = draws.randrange(len(words))
        gone[one] = not gone[one]
    for place in reversed([place for place, out in enumerate(gone) if out]):
        del words[place]
        between[place : place + 2] = [_joined(*between[place : place + 2])]


def _joined(before: str, behind: str) -> str:
    """What stands where a word stood: punctuation of both sides, and one space at most."""
    if before.strip() and behind.strip():
        return before.rstrip() + behind
    if not before.strip() and not behind.strip():
        return min(before, behind, key=lambda gap: (bool(gap), "\n" not in gap))
    return behind if behind.strip() else before


def _capital(new: str, old: str) -> str:
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


__all__ = ["OPERATIONS", "STOP_WORDS", "augmented", "divided"]
