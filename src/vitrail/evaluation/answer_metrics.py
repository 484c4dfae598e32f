"""Metrics of answers in words beside ``match``: numbers, and the words of a span."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import Field

from vitrail.evaluation.metrics import Judgement, plain
from vitrail.evaluation.task import Settings

_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?|[-+−]?\.\d+")


class Numeric:
    """The final number of an answer equals that of the reference.

    With a ``marker`` (GSM8K's ``####``) the number is what follows it, in the reference as in the answer; an answer
    without it is wrong, as the authors of LLM2LLM have it. Without one, the last number counts. Commas in thousands
    do not matter; the sign does, unless ``sign`` is false (as in that code). What is no number is compared as text.
    """

    takes = "text"

    class Config(Settings):
        """``marker``: what stands in front of the final number (None: nothing); ``sign``: whether it counts."""

        marker: str | None = Field(default=None, min_length=1)
        sign: bool = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``reference``. ValueError for a reference without its final number."""
        wanted = self._final(row["reference"])
        if wanted is None:
            marker = f" behind {self.config.marker!r}" if self.config.marker else ""
            raise ValueError(f"the reference {row['reference']!r:.60} has no final answer{marker}")
        said = self._final(row["text"])
        return Judgement(None, said is not None and said == wanted, said is not None)

    def _final(self, text: str) -> Decimal | str | None:
        if self.config.marker is not None:
            if self.config.marker not in text:
                return None
            text = text.split(self.config.marker, 1)[1].strip().partition("\n")[0].strip()
        numbers = _NUMBER.findall(text)
        if not numbers:
            return plain(text.replace(",", "")) or None if self.config.marker is not None else None
        try:
            value = Decimal(numbers[-1].replace(",", "").replace("−", "-"))
        except InvalidOperation:
            return None
        return value if self.config.sign else abs(value)


class SpanF1:
    """The words of an answer and of the reference overlap: F1 of at least ``least`` (SQuAD's, articles left out)."""

    takes = "text"

    class Config(Settings):
        """``least``: from which F1 on an answer is right."""

        least: float = Field(default=0.5, gt=0, le=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``reference``."""
        said = span_words(row["text"])
        return Judgement(None, span_f1(said, span_words(row["reference"])) >= self.config.least, bool(said))


def span_words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    found = re.findall(r"\w+", plain(text))
    return [word for word in found if word not in ("a", "an", "the")]


def span_f1(said: list[str], wanted: list[str]) -> float:
    """F1 of two lists of words as bags; 1 for two empty ones."""
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))
