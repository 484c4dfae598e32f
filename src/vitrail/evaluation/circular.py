"""Circular evaluation: a question counts as right only if it is right under every rotation of its options.

MMBench's protocol (Liu et al., arXiv 2307.06281) as MIBench uses it (arXiv 2407.15272): a question with n options is
asked n times, its options rotated left by one each time, so that every option stands once in each place. What stays of
a model that prefers a place is nothing: always "A" gives the share of A once, and 0 all round.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import pstdev
from typing import Any

from vitrail.data.folds import picture_of
from vitrail.data.records import Chat, Choices, Record
from vitrail.data.sources import RandomAccess, Source, set_aside_of
from vitrail.storage.cache import key


def rotated(chat: Chat, turn: int) -> Chat:
    """The chat with its options rotated left ``turn`` times; its ``groups`` say of which question it is which turn.

    ValueError for two options of the same content: which of them is right could not be told.
    """
    name = chat.id or ""
    groups = {**(chat.meta.get("groups") or {}), "of": name, "turn": turn}
    changes: dict[str, Any] = {"meta": {**chat.meta, "groups": groups}}
    if chat.choices is not None:
        options, answer = chat.choices.options, chat.choices.answer
        if len(set(options)) < len(options):
            raise ValueError(
                "has two equal options, so that rotating them is ambiguous; leave the question out"
            )
        place = turn % len(options)
        moved = options[place:] + options[:place]
        right = None if answer is None else (answer - place) % len(options)
        changes |= {"id": f"{name}#{turn}", "choices": Choices(options=moved, answer=right)}
    return chat.model_copy(update=changes)


class Rotations(RandomAccess):
    """Every question of ``source`` under every rotation of its options, one rotation behind the other.

    A record without options stands once. Ids get ``#`` and the turn. A question without an id is named by its row.
    """

    circular = True

    def __init__(self, source: Source) -> None:
        self.source, self.name, self.root = source, f"{source.name} circular", source.root
        self.set_aside = set_aside_of(source)
        self.benchmark, self.questions = getattr(source, "benchmark", None), len(source)
        self._ends = list(accumulate(self._turns(row) for row in range(len(source))))

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the questions, and of being rotated."""
        return key("circular", self.source.fingerprint)

    def _turns(self, row: int) -> int:
        count = getattr(self.source, "options_of", None)
        if count is not None:
            return max(1, int(count(row)))
        choices = getattr(self.source[row], "choices", None)
        return 1 if choices is None else len(choices.options)

    def about(self, index: int) -> dict[str, Any]:
        """What the source can tell of a row that it cannot give, and of which question it is a turn."""
        row = bisect_right(self._ends, index)
        about = getattr(self.source, "about", None)
        told: dict[str, Any] = {} if about is None else about(row)
        groups = {**told.get("groups", {}), "of": told.get("id", f"row-{row}")}
        return {
            **told,
            "groups": groups,
            "id": f"{groups['of']}#{index - (self._ends[row - 1] if row else 0)}",
        }

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _record(self, index: int) -> Record:
        row = bisect_right(self._ends, index)
        record = self.source[row]
        if not isinstance(record, Chat):
            return record
        if record.id is None:
            record = record.model_copy(update={"id": f"row-{row}"})
        if not record.meta.get("picture"):  # all turns of a question belong to one picture, or to itself
            meta = {**record.meta, "picture": picture_of(record, row)}
            record = record.model_copy(update={"meta": meta})
        return rotated(record, index - (self._ends[row - 1] if row else 0))


@dataclass(frozen=True)
class CircularScore:
    """Shares of right answers of ``n`` questions with all their rotations answered.

    ``vanilla``: as they stand in the file. ``circular``: right under every rotation. ``by_position``: where the right
    option stands in first, second … place; ``bias`` is these shares' standard deviation, ``taken`` how often each place
    was chosen. ``incomplete``: questions of which a rotation is missing; they are in none of the figures.
    """

    n: int
    incomplete: int
    vanilla: float
    circular: float
    by_position: tuple[float, ...]
    taken: tuple[float, ...]
    bias: float


def whole_questions(rows: Sequence[dict[str, Any]]) -> tuple[list[list[dict[str, Any]]], int]:
    """The rows of each question of which every rotation was answered, in turn; and how many lack one."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["groups"]["of"], []).append(row)
    whole = [
        sorted(some, key=lambda row: row["groups"]["turn"])
        for some in groups.values()
        if len(some) == max(1, len(some[0]["options"]))
    ]
    return whole, len(groups) - len(whole)


def all_round(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a question: ``correct`` is the product over its rotations (for chances between 0 and 1 as well)."""
    found = []
    for turns in whole_questions(rows)[0]:
        right = 1.0
        for turn in turns:
            right *= float(turn["correct"])
        parsed = all(turn.get("parsed", True) for turn in turns)
        found.append({**turns[0], "id": turns[0]["groups"]["of"], "correct": right, "parsed": parsed})
    return found


def circular_score(rows: Sequence[dict[str, Any]]) -> CircularScore:
    """The scores of rows of a circular source. ValueError where no question is complete."""
    whole, incomplete = whole_questions([row for row in rows if row["options"]])
    if not whole:
        raise ValueError("no question has all its rotations answered, so there is no circular score")
    widest = max(len(turns) for turns in whole)
    right, asked = Counter[int](), Counter[int]()
    taken = Counter(turn["prediction"] for turns in whole for turn in turns)
    for turn in (turn for turns in whole for turn in turns):
        asked[turn["answer"]] += 1
        right[turn["answer"]] += bool(turn["correct"])
    shares = tuple(right[place] / asked[place] for place in range(widest) if asked[place])
    total = sum(asked.values())
    return CircularScore(
        n=len(whole),
        incomplete=incomplete,
        vanilla=sum(bool(turns[0]["correct"]) for turns in whole) / len(whole),
        circular=sum(all(bool(turn["correct"]) for turn in turns) for turns in whole) / len(whole),
        by_position=shares,
        taken=tuple(taken[place] / total for place in range(widest)),
        bias=pstdev(shares),
    )
