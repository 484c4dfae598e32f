"""Members and non-members: data to tell them apart on, and how well a score does (Shi et al., arXiv 2310.16789).

Labels are 1 for a member (trained on), 0 for none. Scores are those of :mod:`vitrail.analysis.min_k`: a member's is
low.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from vitrail.statistics.intervals import Estimate
from vitrail.statistics.roc import auc, best_balanced_accuracy, tpr_at_fpr


@dataclass(frozen=True)
class MembershipReport:
    """The area under the curve with its interval, the best balanced accuracy, and the true positive rate at 5 %."""

    auc: Estimate
    accuracy: float
    tpr_at_5: float


def membership_report(
    scores: Sequence[float], labels: Sequence[int], clusters: Sequence[Hashable] | None = None
) -> MembershipReport:
    """How well low ``scores`` tell members. ``clusters`` name what texts come from (a book).

    ValueError for a single class, or scores that are not finite.
    """
    low = -np.asarray(scores, float)
    return MembershipReport(
        auc(low, labels, clusters), best_balanced_accuracy(low, labels), tpr_at_fpr(low, labels)
    )


def contamination_rate(
    scores: Sequence[float], groups: Sequence[Hashable], threshold: float
) -> dict[Hashable, float]:
    """For each group (a book) the share of its texts whose score is at most ``threshold``."""
    found: dict[Hashable, list[bool]] = {}
    for score, group in zip(scores, groups, strict=True):
        found.setdefault(group, []).append(score <= threshold)
    return {group: sum(flags) / len(flags) for group, flags in found.items()}


def truncate_words(text: str, length: int) -> str | None:
    """The first ``length`` words, parted by single spaces; None for a text that has fewer."""
    if length < 1:
        raise ValueError(f"length is {length}; give a number of words, 1 or more")
    words = text.split()
    return " ".join(words[:length]) if len(words) >= length else None


def build_temporal_benchmark(
    records: Iterable[Mapping[str, Any]],
    before: date,
    after: date,
    lengths: Sequence[int] = (32, 64, 128, 256),
) -> dict[int, list[dict[str, Any]]]:
    """WikiMIA's way to labels: texts dated before ``before`` are members, from ``after`` on non-members.

    ``records`` have ``text`` and ``date``. For each length its rows ``{"input", "label"}``, of texts that are long
    enough. ValueError where the dates overlap, or a length is left with one class.
    """
    if before > after:
        raise ValueError(f"before is {before} and after {after}; members must be older than non-members")
    dated = [(one["text"], one["date"]) for one in records]
    found: dict[int, list[dict[str, Any]]] = {}
    for length in lengths:
        rows = [
            {"input": cut, "label": int(when < before)}
            for text, when in dated
            if (when < before or when >= after) and (cut := truncate_words(text, length)) is not None
        ]
        if len({row["label"] for row in rows}) < 2:
            raise ValueError(f"of {length} words there are texts of one class alone; give more, or lower it")
        found[length] = rows
    return found


def contaminate(stream: Sequence[Any], items: Sequence[Any], repeats: int, seed: int = 0) -> list[Any]:
    """The stream with every item put in ``repeats`` times, at places drawn with ``seed``; its own order stays."""
    if repeats < 0:
        raise ValueError(f"repeats is {repeats}; give 0 or more")
    planted = [item for item in items for _ in range(repeats)]
    rng = np.random.default_rng(seed)
    keys = np.concatenate([np.arange(len(stream), dtype=float), rng.uniform(0, len(stream), len(planted))])
    every = [*stream, *planted]
    return [every[place] for place in np.argsort(keys, kind="stable")]
