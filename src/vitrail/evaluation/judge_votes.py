"""A judge asked several times: the majority of its votes, or their mean (Q-Bench, arXiv 2309.14181).

``judge`` is anything from a prompt to a reply: a function, or an :mod:`vitrail.inference.answerers` address behind one.
Q-Bench asks five times. Descriptions get 0, 1 or 2 for completeness, preciseness and relevance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Judge = Callable[[str], str]
COUNTS = {
    "completeness": "does the description cover all low-level facts of the reference? 0: none or few, 1: some, 2: "
    "all or "
    "nearly all",
    "preciseness": "does the description contradict the reference? 0: more than it agrees, 1: somewhat, 2: not at all",
    "relevance": "is the description about low-level quality alone (blur, noise, light, colour, composition)? 0: "
    "hardly, "
    "1: partly, 2: wholly",
}
"""What each of the three is, in the judge's words."""


@dataclass(frozen=True)
class JudgeVoter:
    """Asks ``judge`` ``rounds`` times. ``rule``: ``majority`` (the earliest of equals) or ``mean``."""

    judge: Judge
    rounds: int = 5
    rule: Literal["majority", "mean"] = "majority"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.rule not in ("majority", "mean"):
            raise ValueError(
                f"rounds is {self.rounds} and rule {self.rule!r}; use 1 or more, majority or mean"
            )

    def votes(self, prompt: str, allowed: Sequence[int]) -> list[int]:
        """The numbers that the replies begin with; replies without an allowed one are left out. ValueError for none."""
        found = []
        for _ in range(self.rounds):
            number = re.search(r"-?\d+", self.judge(prompt))
            if number is not None and int(number.group()) in allowed:
                found.append(int(number.group()))
        if not found:
            raise ValueError(f"none of {self.rounds} replies of the judge holds one of {list(allowed)}")
        return found

    def __call__(self, prompt: str, allowed: Sequence[int] = (0, 1)) -> float:
        """The verdict. ValueError as :meth:`votes`."""
        found = self.votes(prompt, allowed)
        if self.rule == "mean":
            return sum(found) / len(found)
        return float(Counter(found).most_common(1)[0][0])


def matches_answer(question: str, answer: str, reply: str) -> str:
    """The prompt that asks whether a reply in words says the right answer: 1 or 0."""
    return (
        f"Question: {question}\nRight answer: {answer}\nReply: {reply}\n"
        "Does the reply give the right answer? Answer with 1 for yes or 0 for no, and nothing else."
    )


def judged_description(description: str, golden: str, voter: JudgeVoter) -> dict[str, list[int]]:
    """Every vote on a description's completeness, preciseness and relevance. ValueError for an empty golden text."""
    if not golden.strip():
        raise ValueError("the golden text is empty; Q-Bench's are not public, so give your own")
    return {
        name: voter.votes(
            f"Reference description: {golden}\nDescription: {description}\nJudge its {name}: {about}. Answer with the "
            "number alone.",
            (0, 1, 2),
        )
        for name, about in COUNTS.items()
    }


def description_report(judged: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, dict[str, float]]:
    """For each count the shares ``P0``, ``P1``, ``P2`` and ``mean``; ``total``'s mean is out of 6.

    A description counts once, however many votes it has. ValueError for none.
    """
    if not judged:
        raise ValueError("no description was judged")
    found: dict[str, dict[str, float]] = {}
    for name in COUNTS:
        shares = {
            f"P{value}": sum(list(one[name]).count(value) / len(one[name]) for one in judged) / len(judged)
            for value in (0, 1, 2)
        }
        found[name] = {**shares, "mean": shares["P1"] + 2 * shares["P2"]}
    found["total"] = {"mean": sum(found[name]["mean"] for name in COUNTS)}
    return found
