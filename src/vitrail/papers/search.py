"""Finding papers by what they are about: by words (BM25), and by meaning where a sentence encoder is installed.

BM25 (Robertson and Zaragoza 2009) with k1 = 1.5, b = 0.75 over title, ids, seams, changes, about and claim; a word
in the title counts three times. By meaning, a paper's score is the cosine of the query with its nearest passage
(title and changes; about) plus a tenth of its BM25 score on a scale to 1: names such as "MiniCPM-V"
have no meaning that an encoder could know.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vitrail.papers.entry import Paper

K1, B = 1.5, 0.75
WORDS_SHARE = 0.1
STOP = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by do for from how i in is it my of on or that the to what which with",
    )
)

Encode = Callable[[Sequence[str]], Any]
"""Texts → an array ``(texts, dim)`` of rows of length 1."""


def passages(paper: Paper) -> tuple[str, ...]:
    """What is compared with a query by meaning: one text for each thing that a person may have in mind."""
    return (f"{paper.title}. {paper.changes}", paper.about)


def by_words(query: str, papers: Mapping[str, Paper]) -> list[tuple[str, float]]:
    """Ids with their BM25 scores, best first; papers that share no word with the query are left out.

    ValueError for a query without a word.
    """
    asked = terms(query)
    if not asked:
        raise ValueError(f"the search {query!r} has no word to look for; say what the method does")
    counts = {id: Counter(terms(_whole(paper))) for id, paper in papers.items()}
    lengths = {id: sum(count.values()) for id, count in counts.items()}
    mean = sum(lengths.values()) / max(len(lengths), 1)
    found = []
    for id, count in counts.items():
        score = 0.0
        for term in dict.fromkeys(asked):
            holding = sum(term in other for other in counts.values())
            weight = math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
            norm = count[term] + K1 * (1 - B + B * lengths[id] / mean)
            score += weight * count[term] * (K1 + 1) / norm
        if score > 0:
            found.append((id, score))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def by_meaning(
    query: str, papers: Mapping[str, Paper], vectors: Any, encode: Encode
) -> list[tuple[str, float]]:
    """Ids of all papers with their scores, best first.

    ``vectors`` are the rows of ``encode`` for the passages of all papers, one paper after another.
    """
    words = dict(by_words(query, papers))
    most = max(words.values(), default=1.0)
    likeness = (vectors @ encode([query])[0]).tolist()
    found, start = [], 0
    for id, paper in papers.items():
        stop = start + len(passages(paper))
        found.append((id, max(likeness[start:stop]) + WORDS_SHARE * words.get(id, 0.0) / most))
        start = stop
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def terms(text: str) -> list[str]:
    """The words of a text, lower case, without the commonest, plurals and gerunds cut to a stem."""
    return [stem(word) for word in re.findall(r"[\w²γ]+", text.lower()) if word not in STOP]


def stem(word: str) -> str:
    """A crude English stem: enough that "tokens" finds "token" and "cropping" finds "crop"."""
    for ending in ("ingly", "ings", "ing", "ation", "ations", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word


def _whole(paper: Paper) -> str:
    title = f"{paper.id.replace('_', ' ')} {paper.title} "
    return (
        f"{title * 3} {paper.kind} {' '.join(paper.seams)} {paper.changes} {paper.about} {paper.claim.text}"
    )
