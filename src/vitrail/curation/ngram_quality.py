r"""How much a text is like a reference corpus, by the perplexity of an n-gram model, and the subset most like it.

Strategy II of "Efficient Continual Pre-training by Mitigating the Stability Gap" (arXiv 2406.14833): documents are
scored by a KenLM model of a high-quality corpus of the domain, and the S tokens of lowest perplexity are trained on.
With the ``kenlm`` package and a model file, that model is used. Otherwise an interpolated n-gram model with absolute
discounting (Ney, Essen & Kneser 1994) is counted here: with c the counts after a context h, D the discount and N₁₊(h)
how many different words follow it,

    p(w | h) = max(c(w) − D, 0) / c(h) + D · N₁₊(h) / c(h) · p(w | h shortened by its first word)

down to equal shares of the vocabulary and one unknown word. It differs from KenLM's modified Kneser–Ney in its lower
orders (plain counts) and in one discount instead of three.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_WORD = re.compile(r"\w+|[^\w\s]")
_BEGIN, _END = "\x02", "\x03"


def words(text: str) -> list[str]:
    """Lower-case words and signs of a text."""
    return _WORD.findall(text.lower())


class NgramQualityScorer:
    """An n-gram model of ``reference`` texts. ``order``: the longest n; ``discount``: D.

    ValueError for a reference without a word, an order below 1, or a discount that is not between 0 and 1.
    """

    def __init__(self, reference: Iterable[str], *, order: int = 3, discount: float = 0.75) -> None:
        if order < 1:
            raise ValueError(f"order is {order}; give 1 (words alone) or more")
        if not 0 < discount < 1:
            raise ValueError(f"discount is {discount}; give a number between 0 and 1")
        self.order, self.discount = order, discount
        self._followers: dict[tuple[str, ...], Counter[str]] = {}
        for text in reference:
            self._count(words(text))
        if not self._followers.get(()):
            raise ValueError("the reference corpus holds no word; give texts of the quality that is wanted")
        self._totals = {context: sum(found.values()) for context, found in self._followers.items()}
        self._floor = 1.0 / (len(self._followers[()]) + 1)  # one more for what was never seen

    @classmethod
    def from_kenlm(cls, path: Path | str) -> KenlmScorer:
        """A scorer on a KenLM model file. ImportError without the ``kenlm`` package."""
        return KenlmScorer(path)

    def _count(self, found: Sequence[str]) -> None:
        if not found:
            return
        padded = [*[_BEGIN] * (self.order - 1), *found, _END]
        for place in range(self.order - 1, len(padded)):
            for n in range(self.order):
                context = tuple(padded[place - n : place])
                self._followers.setdefault(context, Counter())[padded[place]] += 1

    def probability(self, word: str, context: Sequence[str]) -> float:
        """p(word | context); of the context the last ``order`` − 1 words count."""
        p = self._floor
        for n in range(self.order):
            own = tuple(context[len(context) - n :])
            found = self._followers.get(own)
            if found is None or n > len(context):
                break
            total = self._totals[own]
            p = max(found[word] - self.discount, 0.0) / total + self.discount * len(found) / total * p
        return p

    def perplexity(self, text: str) -> float:
        """e to the mean surprise of a word (its end counts as one); infinite for a text without a word."""
        found = words(text)
        if not found:
            return math.inf
        padded = [*[_BEGIN] * (self.order - 1), *found, _END]
        surprise = sum(
            -math.log(self.probability(padded[place], padded[place - self.order + 1 : place]))
            for place in range(self.order - 1, len(padded))
        )
        return math.exp(surprise / (len(found) + 1))


class KenlmScorer:
    """Perplexities of a KenLM model (``pip install kenlm``)."""

    def __init__(self, path: Path | str) -> None:
        try:
            import kenlm
        except ImportError:
            raise ImportError(
                "a KenLM model needs the package kenlm; install it, or count texts here"
            ) from None
        self.model: Any = kenlm.Model(str(path))

    def perplexity(self, text: str) -> float:
        """KenLM's own, over words as :func:`words` cuts them."""
        found = words(text)
        return math.inf if not found else float(self.model.perplexity(" ".join(found)))


@dataclass(frozen=True)
class Subset:
    """``rows`` of a corpus in its order, their ``tokens``, and the mean of their scores."""

    rows: tuple[int, ...]
    tokens: int
    score: float


def select_lowest(scores: Sequence[float], tokens: Sequence[int], token_budget: int) -> Subset:
    """The documents of lowest score until they hold ``token_budget`` tokens; equal scores in the corpus's order.

    ValueError for a budget that the corpus does not have, and for scores that are not numbers.
    """
    if len(scores) != len(tokens):
        raise ValueError(f"{len(scores)} scores for {len(tokens)} documents")
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(
            f"score {int(np.flatnonzero(np.isnan(values))[0])} is not a number; set that document aside"
        )
    if not 1 <= token_budget <= sum(tokens):
        raise ValueError(
            f"token_budget is {token_budget:,}, and the corpus has {sum(tokens):,} tokens; take 1 to that"
        )
    chosen, seen = [], 0
    for row in np.argsort(values, kind="stable").tolist():
        if seen >= token_budget:
            break
        chosen.append(row)
        seen += int(tokens[row])
    return Subset(tuple(sorted(chosen)), seen, float(values[chosen].mean()))


def refuse_shared(training: Iterable[str], evaluation: Iterable[str], n: int = 13) -> None:
    """ValueError if an evaluation text stands in the training pool: whole, or ``n`` words of it in a row.

    (The overlap of thirteen words is that of Brown et al. 2020, appendix C.)
    """
    spans: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(evaluation):
        found = words(text)
        for start in range(max(len(found) - n + 1, 1 if found else 0)):
            spans.setdefault(tuple(found[start : start + n]), number)
    sizes = {len(span) for span in spans}
    for row, text in enumerate(training):
        found = words(text)
        for size in sizes:
            whole = [tuple(found)] if len(found) == size else []
            parts = (
                (tuple(found[start : start + n]) for start in range(len(found) - n + 1)) if size == n else ()
            )
            for span in [*whole, *parts]:
                if span in spans:
                    raise ValueError(
                        f"training text {row} holds evaluation text {spans[span]} ({' '.join(span[:6])} …); "
                        "remove it from the pool"
                    )
