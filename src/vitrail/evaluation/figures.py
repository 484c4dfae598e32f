"""Figures of a benchmark's official score, each with its interval and what chance and a majority guess would reach.

A benchmark computes its figures from rows by functions of this module. A row's ``correct`` is a share of being right: 0
or 1 for an answer, ``1 / n`` for an option drawn at random. Figures are products and ratios of sums of these, so the
same function gives the score and its baselines (exact for sums and products; for ratios, the ratio of expectations).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vitrail.evaluation.baselines import majority
from vitrail.statistics.intervals import clustered_statistic, proportion

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A figure over ``n`` questions: None where there is nothing to compute it from, never 0 for that.

    ``interval`` is the 95 % one over pictures. ``random`` and ``majority`` are the figure of an option drawn at random,
    and of the best guess from answers to other questions; None where they were not computed.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    random: float | None = None
    majority: float | None = None


@dataclass(frozen=True)
class Official:
    """A benchmark's own score of a file of answers.

    ``figures``: the headline first. ``rows`` of the official files: ``answered``, and ``left_out`` for the ``reasons``;
    ``missing`` were not asked yet. ``not_run``: kinds of question of which none was answered. ``notes``: what a reader
    must know to compare the figures with published ones.
    """

    benchmark: str
    figures: tuple[Figure, ...]
    rows: int
    answered: int
    left_out: int
    missing: int
    reasons: Mapping[str, int]
    not_run: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def coverage(self) -> str:
        """How many rows of the files the score covers, in words."""
        return coverage(
            self.rows, self.answered, self.left_out, self.reasons, self.missing, not_run=self.not_run
        )

    def __getitem__(self, name: str) -> Figure:
        """The figure of a name. KeyError where there is none."""
        return next((one for one in self.figures if one.name == name), None) or _unknown(name)


def coverage(
    rows: int,
    answered: int,
    left_out: int,
    reasons: Mapping[str, int],
    missing: int,
    *,
    not_run: Sequence[str] = (),
) -> str:
    """How many rows a score covers, and what became of the others, in words."""
    parts = [f"{answered:,} of {rows:,} rows"]
    if left_out:
        why = "; ".join(f"{count:,} × {reason}" for reason, count in list(reasons.items())[:3])
        parts.append(f"{left_out:,} left out ({why})")
    if missing:
        parts.append(f"{missing:,} not asked yet")
    if not_run:
        parts.append(f"not run: {', '.join(not_run)}")
    return ", ".join(parts)


def _unknown(name: str) -> Figure:
    raise KeyError(name)


Figures = Callable[[Rows], "list[Figure]"]
_INTERVALS: ContextVar[bool] = ContextVar("intervals", default=True)


def with_baselines(figures: Figures, rows: Rows) -> tuple[Figure, ...]:
    """The figures of rows, each beside what chance and the majority guess reach on the same questions."""
    found = figures(rows)
    ranked = [row for row in rows if row.get("options")]
    if not ranked:
        return tuple(found)
    drawn = [{**row, "correct": 1 / len(row["options"])} for row in ranked]
    guesses = majority([dict(row) for row in ranked])
    guessed = [
        {**row, "correct": guess == row["answer"], "prediction": guess}
        for row, guess in zip(ranked, guesses, strict=True)
    ]
    token = _INTERVALS.set(False)  # of a baseline nobody asks, and the bootstrap is most of the work
    try:
        chance, best = ({one.name: one for one in figures(some)} for some in (drawn, guessed))
    finally:
        _INTERVALS.reset(token)
    return tuple(
        # A figure over other rows too (answers in words) has no baseline of guessing.
        replace(one, random=chance[one.name].value, majority=best[one.name].value)
        if one.name in chance and chance[one.name].n == one.n
        else one
        for one in found
    )


def accuracy(name: str, rows: Rows) -> Figure:
    """The share right of all rows together (the micro-average)."""
    if not rows:
        return Figure(name, None, None, 0)
    values = [float(row["correct"]) for row in rows]
    if not _INTERVALS.get() or any(value not in (0.0, 1.0) for value in values):
        return Figure(name, sum(values) / len(values), None, len(rows))
    found = proportion(values, [row["cluster"] for row in rows])
    return Figure(name, found.value, (found.low, found.high), len(rows))


def mean_of_groups(name: str, groups: Mapping[str, Rows]) -> Figure:
    """The mean of the groups' shares right (the macro-average), over the groups that have rows."""
    filled = [rows for rows in groups.values() if rows]
    if not filled:
        return Figure(name, None, None, 0)
    k = len(filled)
    flat = [(place, row) for place, rows in enumerate(filled) for row in rows]
    columns = np.zeros((len(flat), 2 * k))
    for line, (place, row) in enumerate(flat):
        columns[line, place], columns[line, k + place] = float(row["correct"]), 1.0
    return _ratio(
        name, columns, [row["cluster"] for _, row in flat], lambda s: (s[..., :k] / s[..., k:]).mean(-1)
    )


def ratio(name: str, top: Sequence[float], bottom: Sequence[float], clusters: Sequence[Any]) -> Figure:
    """A ratio of sums; None where the sum below is 0."""
    if not bottom or sum(bottom) == 0:
        return Figure(name, None, None, len(bottom))
    columns = np.stack([np.asarray(top, float), np.asarray(bottom, float)], axis=1)
    return _ratio(name, columns, clusters, lambda s: s[..., 0] / s[..., 1])


def _ratio(
    name: str, columns: np.ndarray, clusters: Sequence[Any], of: Callable[[np.ndarray], np.ndarray]
) -> Figure:
    if not _INTERVALS.get():
        return Figure(name, float(of(columns.sum(0))), None, len(columns))
    found = clustered_statistic(columns, of, clusters)
    return Figure(name, found.value, (found.low, found.high), len(columns))


def by(rows: Rows, name: str) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by ``kind``, or by a value of their ``groups``; rows without it are left out."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        value = row["kind"] if name == "kind" else row.get("groups", {}).get(name)
        if value is not None:
            found.setdefault(str(value), []).append(row)
    return found
