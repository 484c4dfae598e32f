"""Wrong options for a question whose right answer is known: near answers of other questions, or a model's.

MIBench (arXiv 2407.15272) takes the right option from human annotation and wrong ones that are alike, so that none
can be told without looking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vitrail.inference.answerers import Answerer

_PROMPT = (
    "Question: {question}\nRight answer: {answer}\nWrite {n} wrong answers that are alike in kind and length, a line "
    "each, nothing else."
)
_MARK = re.compile(r"^\s*(?:[-*•]|\(?[A-Za-z0-9]{1,2}[.):])\s+")


def similar_answers(
    answer: str,
    pool: Sequence[str],
    n: int = 3,
    *,
    encode: Callable[[Sequence[str]], Any] | None = None,
    most: float = 0.95,
) -> list[str]:
    """The ``n`` answers of ``pool`` nearest to ``answer`` by meaning, nearest first.

    ``encode`` gives rows of length 1 (default all-MiniLM-L6-v2); answers nearer than ``most`` mean the same and are
    left out. ValueError where fewer are left.
    """
    if encode is None:
        from vitrail.papers.meaning import encode as meaning

        encode = meaning
    others = [one for one in dict.fromkeys(pool) if _plain(one) != _plain(answer)]
    if len(others) < n:
        raise ValueError(f"pool has {len(others)} other answers; {n} wrong options are asked for")
    vectors = np.asarray(encode([answer, *others]), float)
    near = vectors[1:] @ vectors[0]
    order = [place for place in np.argsort(-near, kind="stable") if near[place] < most]
    if len(order) < n:
        raise ValueError(
            f"only {len(order)} answers of the pool mean something else than {answer!r}; give more"
        )
    return [others[place] for place in order[:n]]


def written_answers(answerer: Answerer, question: str, answer: str, n: int = 3) -> list[str]:
    """``n`` wrong answers that a model writes. ValueError where it gives fewer different ones."""
    from vitrail.inference.answerers import question as asked
    from vitrail.inference.generation import GenerationSettings

    prompt = _PROMPT.replace("{n}", str(n)).replace("{question}", question).replace("{answer}", answer)
    (reply,) = answerer.ask([asked(prompt)], GenerationSettings(max_new_tokens=32 * n))
    lines = [_MARK.sub("", line).strip() for line in reply.text.splitlines()]
    found = [line for line in dict.fromkeys(lines) if line and _plain(line) != _plain(answer)]
    if len(found) < n:
        raise ValueError(f"{answerer.name} gave {len(found)} wrong answers of {n}: {reply.text[:80]!r}")
    return found[:n]


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" .!?").split())
