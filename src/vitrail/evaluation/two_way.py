"""Which of two names does an answer say? Link-Context Learning's strict score (arXiv 2308.07891), and its figures.

An answer is right if the right name occurs in it and the other does not once the right one is taken out, case and outer
blanks aside: "there is A and B" is wrong. Where the other name holds the right one ("black cat" and "cat"), the other
must not occur at all: the published rule would take "a black cat" for "cat".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vitrail.evaluation.figures import Figure, Rows, accuracy, by
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings


def two_way_accuracy(prediction: str, positive: str, negative: str) -> bool:
    """Whether ``prediction`` says ``positive`` and not ``negative``. ValueError for names that are empty or equal."""
    said, right, wrong = (text.strip().lower() for text in (prediction, positive, negative))
    if not right or not wrong:
        raise ValueError(f"a name is empty ({positive!r}, {negative!r}); a two-way score needs two")
    if right == wrong:
        raise ValueError(f"both names are {positive!r}; a two-way score needs two different ones")
    if right not in said:
        return False
    return wrong not in (said if right in wrong else said.replace(right, ""))


class TwoWay:
    """An answer in words says the right one of two names, and not the other."""

    takes = "text"

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text``; the names are its groups ``positive`` (the right one) and ``negative``.

        ValueError for a row of another kind of question.
        """
        names = row.get("groups", {})
        if "positive" not in names or "negative" not in names:
            raise ValueError(
                f"question {row.get('id')!r} has no two names (meta.groups.positive and negative); use metric 'match'"
            )
        right, wrong = (str(names[name]) for name in ("positive", "negative"))
        correct = two_way_accuracy(row["text"], right, wrong)
        options = row.get("options") or ()
        taken = (
            row["answer"]
            if correct
            else 1 - row["answer"]
            if two_way_accuracy(row["text"], wrong, right)
            else None
        )
        return Judgement(taken if len(options) == 2 else None, correct, taken is not None)


def two_way_figures(rows: Rows) -> list[Figure]:
    """Accuracy of all and by shots, how often the first example's label is said, and both of a swapped pair right.

    Of the label said first chance is one half; answers that say neither name, or both, are left out there.
    """
    found = [accuracy("overall", rows)]
    shots = by(rows, "k")
    if len(shots) > 1:
        found += [accuracy(f"{k} shots", shots[k]) for k in sorted(shots, key=int)]
    told = [row for row in rows if "first" in row["groups"] and row.get("parsed", True)]
    if told:
        found.append(accuracy("says the first example's label", [_first(row) for row in told]))
    pairs: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "pair" in row["groups"]:
            pairs.setdefault(row["groups"]["pair"], []).append(row)
    whole = [two for two in pairs.values() if len(two) == 2]
    if whole:
        both = [{**one, "correct": float(one["correct"]) * float(other["correct"])} for one, other in whole]
        found.append(accuracy("both of a swapped pair", both))
    return found


def _first(row: Mapping[str, Any]) -> dict[str, Any]:
    right = float(row["correct"])
    return {**row, "correct": right if row["groups"]["first"] else 1 - right}


def shot_curve(
    ask: Callable[[int], Rows], shots: Sequence[int] = (0, 1, 2, 4, 6, 8, 10, 16)
) -> dict[int, Figure]:
    """The accuracy at every number of examples; ``ask`` gives the judged rows of questions with so many."""
    return {k: accuracy(f"{k} shots", ask(k)) for k in shots}
