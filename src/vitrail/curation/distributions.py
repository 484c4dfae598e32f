"""How long documents are and what they hold: counts in doubling steps, by language, which add up over partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vitrail.curation.operations.operation import images_of, language_of, texts_of
from vitrail.data.records import Document

MEASURES = ("characters", "texts", "pictures")
Distributions = dict[str, dict[str, dict[str, int]]]
"""Language → measure → lower end of a step (0, 1, 2, 4, 8 …) → documents."""


def add(found: Distributions, document: Document) -> None:
    """Count a document."""
    texts = texts_of(document)
    values = (sum(map(len, texts)), len(texts), len(images_of(document)))
    here = found.setdefault(language_of(document), {name: {} for name in MEASURES})
    for name, value in zip(MEASURES, values, strict=True):
        step = str(1 << (value.bit_length() - 1) if value else 0)
        here[name][step] = here[name].get(step, 0) + 1


def add_up(several: Iterable[Distributions]) -> Distributions:
    """The sum, languages and steps in order."""
    total: Distributions = {}
    for one in several:
        for language, measures in one.items():
            here = total.setdefault(language, {name: {} for name in MEASURES})
            for name, steps in measures.items():
                for step, count in steps.items():
                    here[name][step] = here[name].get(step, 0) + count
    return {
        language: {
            name: dict(sorted(steps.items(), key=lambda one: int(one[0])))
            for name, steps in total[language].items()
        }
        for language in sorted(total)
    }


def middle(steps: Mapping[str, int]) -> str:
    """The step in which the median lies, in words."""
    left = sum(steps.values()) / 2
    for step, count in steps.items():
        left -= count
        if left <= 0:
            return words(step)
    return "–"


def words(step: str) -> str:
    """A step in words: ``4–7``."""
    low = int(step)
    return f"{low:,}" if low < 2 else f"{low:,}–{2 * low - 1:,}"


def table(found: Distributions, name: str) -> list[tuple[Any, ...]]:
    """A measure over all languages: step, documents, share in per cent."""
    steps = add_up({"": {name: measures[name]}} for measures in found.values()).get("", {}).get(name, {})
    total = sum(steps.values())
    return [(words(step), count, round(100 * count / total, 1)) for step, count in steps.items()]
