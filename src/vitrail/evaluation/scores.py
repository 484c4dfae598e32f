"""Scores: a pure function of a file of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vitrail.evaluation.answers import Answers, read_answers, reasons
from vitrail.evaluation.baselines import chance, majority
from vitrail.evaluation.figures import Official
from vitrail.evaluation.official import official_score
from vitrail.statistics.intervals import clustered_bootstrap, proportion


@dataclass(frozen=True)
class Rate:
    """Right answers among ``n`` questions about ``clusters`` pictures, with a 95 % interval.

    ``accuracy`` and ``interval`` are None for no questions. An answer that could not be read (``unparsed``)
    is not right, and not counted among the ``wrong``. ``chance``: an option drawn at random; ``majority``:
    the best guess from answers to other questions of the kind; both None for questions without options. ``loss`` is
    the mean a question with its interval, of metrics that measure a distance; then nothing is right or wrong.
    """

    n: int
    clusters: int
    right: int
    wrong: int
    unparsed: int
    ties: int
    accuracy: float | None
    interval: tuple[float, float] | None
    chance: float | None
    majority: float | None
    loss: float | None = None
    loss_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scores:
    """The score of one file of answers, overall, by kind of question, and by the split of names.

    ``rows`` of the scenario: ``overall.n`` answered, ``set_aside`` for the ``reasons`` given, ``missing`` not
    asked yet. ``unread`` rows of the file were no records at all. ``seconds`` is what asking took, all
    together. ``official`` is the score of a benchmark's own protocol, with its baselines; None for other questions.
    """

    task: str
    condition: str
    model: str
    rows: int
    set_aside: int
    unread: int
    missing: int
    reasons: dict[str, int]
    overall: Rate
    by_kind: dict[str, Rate]
    by_names: dict[str, Rate]
    seconds: float
    fingerprints: dict[str, str] = field(repr=False)
    official: Official | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values: the overall rate's fields at the top, then ``by_kind`` and the rest."""
        whole = asdict(self)
        return {**whole.pop("overall"), **whole}


def score(path: Path | str) -> Scores:
    """Score a file of answers, finished or not. The same file gives the same scores, wherever it is read."""
    return scores_of(read_answers(path))


def scores_of(answers: Answers) -> Scores:
    """As :func:`score`, of a file that is read already."""
    guessed = _guessed(answers)
    unread = sum(row["type"] == "unread" for row in answers.set_aside)
    set_aside = len(answers.set_aside) - unread
    return Scores(
        task=answers.header["task"]["name"],
        condition=answers.header["condition"],
        model=answers.header["model"],
        rows=answers.header["rows"],
        set_aside=set_aside,
        unread=unread,
        missing=answers.header["rows"] - len(answers.rows) - set_aside,
        reasons=reasons(answers.set_aside),
        overall=rate(answers.rows, guessed),
        by_kind={kind: rate(rows, guessed) for kind, rows in grouped(answers.rows, "kind").items()},
        by_names={
            names: rate(rows, guessed) for names, rows in grouped(answers.rows, "names").items() if names
        },
        seconds=round(answers.seconds, 3),
        fingerprints=answers.header["fingerprints"],
        official=official_score(answers),
    )


def rate(rows: Sequence[dict[str, Any]], guessed: dict[int, bool]) -> Rate:
    """The rate of some rows; ``guessed`` tells of each row number whether the guess without a picture is
    right.
    """
    if rows and all(row.get("loss") is not None for row in rows):
        return _distance(rows)
    right = [bool(row["correct"]) for row in rows]
    unparsed = sum(not row["parsed"] for row in rows)
    clusters = [row["cluster"] for row in rows]
    found = proportion([float(one) for one in right], clusters) if rows else None
    guesses = [guessed[row["row"]] for row in rows if row["row"] in guessed]
    return Rate(
        n=len(rows),
        clusters=len(set(clusters)),
        right=sum(right),
        wrong=len(rows) - sum(right) - unparsed,
        unparsed=unparsed,
        ties=sum(bool(row.get("tie")) for row in rows),
        accuracy=found.value if found else None,
        interval=(found.low, found.high) if found else None,
        chance=chance(rows),
        majority=sum(guesses) / len(guesses) if guesses and len(guesses) == len(rows) else None,
    )


def _distance(rows: Sequence[dict[str, Any]]) -> Rate:
    """The rate of rows whose metric measured a distance."""
    values, clusters = [float(row["loss"]) for row in rows], [row["cluster"] for row in rows]
    found = clustered_bootstrap(values, clusters) if len(set(clusters)) > 1 else None
    return Rate(
        n=len(rows),
        clusters=len(set(clusters)),
        right=0,
        wrong=0,
        unparsed=0,
        ties=0,
        accuracy=None,
        interval=None,
        chance=None,
        majority=None,
        loss=found.value if found else sum(values) / len(values),
        loss_interval=(found.low, found.high) if found else None,
    )


def grouped(rows: Sequence[dict[str, Any]], name: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by the value of a field, values in order of first appearance."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def _guessed(answers: Answers) -> dict[int, bool]:
    rows = [row for row in answers.rows if row["options"]]
    return {row["row"]: guess == row["answer"] for row, guess in zip(rows, majority(rows), strict=True)}
