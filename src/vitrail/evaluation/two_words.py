"""A number from two words: the softmax over the next token's logits of *good* and *poor* (Q-Bench, arXiv 2309.14181).

The model's answer is begun ("The quality of the image is"), and its next token read, not sampled::

    q = exp(x_good / T) / (exp(x_good / T) + exp(x_poor / T)) = sigmoid((x_good − x_poor) / T)

More words with values make a scale of several levels: the values' mean under the softmax. One forward, no generation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator

from vitrail.evaluation.inferencers import DIGITS, Asked, _behind
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

BEGINNING = "The quality of the image is"


class TwoWords:
    """The mean of the words' values, weighted by how likely each is next."""

    gives = "score"

    class Config(Settings):
        """``words`` with their values; ``beginning``: of the answer; ``temperature``: by which logits are divided.

        The published code divides by 100, the paper's formula by 1: ranks are equal, linear correlations are not.
        """

        words: dict[str, float] = Field(default={"good": 1.0, "poor": 0.0})
        beginning: str = BEGINNING
        temperature: float = Field(default=1.0, gt=0)

        @field_validator("words")
        @classmethod
        def _several(cls, words: dict[str, float]) -> dict[str, float]:
            if len(words) < 2 or not all(word.strip() for word in words):
                raise ValueError(f"words is {words}; give two words or more, each with its value")
            return words

    def __init__(self, config: Config) -> None:
        self.config = config

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Asked:
        """The question with the answer begun, and each word's first token behind it.

        ValueError for words whose first tokens are the same or unknown, or more than the model's context.
        """
        from vitrail.inference.generation import with_beginning
        from vitrail.inference.inputs import context_length

        if prompt.text is not None:
            raise ValueError("is a text, and nothing is asked; use the inferencer 'reference'")
        tokens = self.tokens(bundle)
        encoded = bundle.encoder.encode(prompt.chat, add_generation_prompt=True, root=root)
        encoded = with_beginning(bundle, encoded, self.config.beginning)
        limit = context_length(bundle.model)
        if limit is not None and encoded.length + 1 > limit:
            raise ValueError(f"the question has {encoded.length} tokens; the model's context is {limit}")
        return Asked(encoded, tuple((token,) for token in tokens))

    def tokens(self, bundle: Bundle) -> list[int]:
        """The first token of each word in the form that follows the beginning. ValueError as :meth:`encode`."""
        space = " " if self.config.beginning else ""
        found = [_behind(bundle, self.config.beginning, space + word)[0] for word in self.config.words]
        unknown = bundle.tokenizer.unk_token_id
        for word, token in zip(self.config.words, found, strict=True):
            if token == unknown:
                raise ValueError(f"the word {word!r} is unknown to this model's tokenizer; choose another")
            first = list(self.config.words)[found.index(token)]
            if first != word:
                raise ValueError(f"the words {first!r} and {word!r} begin with the same token; choose others")
        return found

    def ask(self, bundle: Bundle, asked: list[Asked], batch_size: int) -> list[dict[str, Any]]:
        """For each: ``logprobs`` of the words, in order, and ``score``."""
        from vitrail.inference.likelihood import option_logprobs

        questions = [(one.prompt, one.options) for one in asked]
        found = option_logprobs(bundle.model, bundle.collator(), questions, batch_size=batch_size)
        rows = []
        for one in found:
            logprobs = [round(value, DIGITS) for value in one.sums]
            score = weighted(logprobs, list(self.config.words.values()), self.config.temperature)
            rows.append({"logprobs": logprobs, "score": round(score, 2 * DIGITS)})
        return rows

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """The tokens that are read."""
        return {"tokens": self.tokens(bundle)}


def weighted(logits: list[float], values: list[float], temperature: float = 1.0) -> float:
    """``Σ v softmax(x / T)``. ValueError for a logit that is not finite."""
    x = np.asarray(logits, float) / temperature
    if not np.isfinite(x).all():
        raise ValueError(f"a word's logit is {logits}; look at the model's logits")
    weights = np.exp(x - x.max())
    return float(weights @ np.asarray(values, float) / weights.sum())


class Assessment:
    """A score is neither right nor wrong; it is held against people's over many pictures."""

    takes = "score"

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Of a row with ``score``: whether there is one."""
        return Judgement(None, False, math.isfinite(row["score"]))


def correlations(scores: Any, truth: Any) -> Mapping[str, tuple[float, float, float] | None]:
    """``SRCC`` and ``PLCC`` with 95 % intervals (Bonett & Wright 2000; Fisher); None where one side is constant.

    ValueError for fewer than three pictures.
    """
    from scipy.stats import pearsonr, spearmanr

    x, y = np.asarray(scores, float), np.asarray(truth, float)
    if len(x) != len(y) or len(x) < 3:
        raise ValueError(f"there are {len(x)} scores of {len(y)} pictures; a correlation needs 3 at least")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"SRCC": None, "PLCC": None}
    rank, line = float(spearmanr(x, y).statistic), float(pearsonr(x, y).statistic)
    return {
        "SRCC": _with_interval(rank, len(x), 1 + rank**2 / 2),
        "PLCC": _with_interval(line, len(x), 1.0),
    }


def _with_interval(r: float, n: int, factor: float) -> tuple[float, float, float]:
    r = min(1.0, max(-1.0, r))
    if n < 4 or abs(r) == 1:
        return r, r if abs(r) == 1 else -1.0, r if abs(r) == 1 else 1.0
    half = 1.959964 * math.sqrt(factor / (n - 3))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
