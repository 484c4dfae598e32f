"""Reasoning in words, then its summary as JSON: for conditions that probabilities leave open (CLUE, arXiv 2501.00192).

Asked is any :class:`~vitrail.inference.answerers.Answerer` that takes pictures: the judge's own model, or one at an
address. A summary that is not the JSON asked for decides nothing; it never counts as "does not hold".
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.answerers import Answerer
from vitrail.inference.constitution import Holds
from vitrail.inference.debiased import asking
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.json_replies import json_object

REASON = (
    "Is this true of the picture: {condition}?\nThink step by step. Judge only what can be seen in the picture, in the "
    "state that it shows, not what may have happened before or may happen next."
)
SUMMARISE = (
    'Summarise your reasoning as JSON alone: {"rating": "Yes" or "No", "rationale": "one sentence"}. Yes means that it '
    "is true."
)


@dataclass(frozen=True)
class Reasoned:
    """``holds`` as the summary says, None where it cannot be read; the ``rationale``, and what was written."""

    holds: Holds
    rationale: str
    reasoning: str
    summary: str


def read_rating(text: str) -> tuple[Holds, str]:
    """The rating and rationale of a summary; (None, "") for anything but ``{"rating": "Yes"|"No", …}``."""
    found = json_object(text) or {}
    rating, rationale = found.get("rating"), found.get("rationale", "")
    known = {"yes": True, "no": False}
    if not isinstance(rating, str) or rating.strip().lower() not in known or not isinstance(rationale, str):
        return None, ""
    return known[rating.strip().lower()], rationale.strip()


class CascadedReasoner:
    """Two requests a condition: the reasoning, and in the same conversation its summary."""

    def __init__(self, answerer: Answerer, *, max_new_tokens: int = 512, prompt: str = REASON) -> None:
        self.answerer, self.prompt = answerer, prompt
        self.settings = GenerationSettings(max_new_tokens=max_new_tokens)
        self.short = GenerationSettings(max_new_tokens=min(max_new_tokens, 128))

    def reason(self, asked: Sequence[tuple[Image, str]]) -> list[Reasoned]:
        """Of pictures and conditions, in order. A warning for a summary that cannot be read."""
        first = [asking(condition, picture, self.prompt) for picture, condition in asked]
        thoughts = self.answerer.ask(first, self.settings)
        second = [_followed(chat, one.text) for chat, one in zip(first, thoughts, strict=True)]
        found = []
        for thought, said, (_, condition) in zip(
            thoughts, self.answerer.ask(second, self.short), asked, strict=True
        ):
            holds, rationale = read_rating(said.text)
            if holds is None:
                warnings.warn(
                    f"{self.answerer.name} summarised {condition!r} by no JSON of rating and rationale "
                    f"({said.text[:60]!r}); it stays undecided",
                    stacklevel=2,
                )
            found.append(Reasoned(holds, rationale, thought.text, said.text))
        return found


def _followed(chat: Chat, thought: str) -> Chat:
    further = (
        Message(role="assistant", content=(Text(text=thought or "…"),)),
        Message(role="user", content=(Text(text=SUMMARISE),)),
    )
    return chat.model_copy(update={"messages": (*chat.messages, *further)})
