"""Questions in several turns, each with its own options: the kind first, then which one (ChEF's *Multi-turn*).

A record is a chat with earlier turns before its last question; ``meta["turns"]`` holds ``options`` and ``answer``
(an index) of each of them, and ``choices`` those of the last. Turn by turn the options are ranked behind all that was
said before, and what was chosen stands as the assistant's answer when the next turn is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from vitrail.data.readers.problems import shown
from vitrail.data.records import Chat, Message, Text
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.metrics import Judgement
from vitrail.evaluation.task import Settings, built, part_settings

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class Turn:
    """One earlier turn: where its answer stands among the messages, its options, and the right one."""

    place: int
    options: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Conversation:
    """A prompt with its earlier turns, and where its pictures are."""

    prompt: Prompt
    root: Path | None
    turns: tuple[Turn, ...]


def turns_of(chat: Chat) -> tuple[Turn, ...]:
    """The earlier turns of a record. ValueError naming the field that is wrong."""
    places = [place for place, message in enumerate(chat.messages) if message.role == "assistant"]
    given = chat.meta.get("turns")
    if not isinstance(given, (list, tuple)) or len(given) != len(places) or not places:
        raise ValueError(
            f"meta.turns is {shown(given)}; it must be a list of options and answer for each of the {len(places)} "
            "turns that the assistant answers before the last question"
        )
    found = []
    for number, (place, turn) in enumerate(zip(places, given, strict=True)):
        options = turn.get("options") if isinstance(turn, Mapping) else None
        texts = tuple(map(str, options)) if isinstance(options, (list, tuple)) else ()
        if len(texts) < 2 or len(set(texts)) < len(texts) or not all(text.strip() for text in texts):
            raise ValueError(
                f"meta.turns[{number}].options is {shown(options)}; give two or more unlike texts"
            )
        answer = turn.get("answer")
        if not isinstance(answer, int) or not 0 <= answer < len(texts):
            raise ValueError(
                f"meta.turns[{number}].answer is {shown(answer)}; it must be an index into its {len(texts)} options"
            )
        found.append(Turn(place, texts, answer))
    return tuple(found)


class MultiTurn:
    """Rank the options of every turn, one turn behind the other."""

    gives = "ranking"

    class Config(Settings):
        """``then``: how options are ranked, in every turn. ``earlier``: what stands in earlier turns, the model's
        ``own`` answers (ChEF's) or the ``right`` ones; the difference is what its first errors cost.
        """

        then: dict[str, Any] = Field(default="likelihood", validate_default=True)  # type: ignore[assignment]
        earlier: Literal["own", "right"] = "own"

        @field_validator("then", mode="before")
        @classmethod
        def _inner(cls, value: Any) -> Any:
            found = part_settings("inferencer", value)
            if found["name"] != "likelihood":
                raise ValueError(f"then is {found['name']!r}; the options of a turn are ranked by likelihood")
            return found

    def __init__(self, config: Config) -> None:
        self.config = config
        self.then = built("inferencer", config.then)

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Conversation:
        """The turns. ValueError for a record without them, or where the longest answers do not fit."""
        found = Conversation(prompt, root, turns_of(prompt.chat))
        longest = [max(turn.options, key=len) for turn in found.turns]
        self.then.encode(bundle, _last(found, longest), root)
        return found

    def ask(self, bundle: Bundle, asked: list[Conversation], batch_size: int) -> list[dict[str, Any]]:
        """As ``then`` gives for the last turn; ``turns``: of each earlier one ``choice``, ``values``, and whether it
        is ``correct``.
        """
        said: list[list[str]] = [[] for _ in asked]
        told: list[list[dict[str, Any]]] = [[] for _ in asked]
        for number in range(max(len(one.turns) for one in asked)):
            these = [place for place, one in enumerate(asked) if number < len(one.turns)]
            encoded = [
                self.then.encode(bundle, _turn(asked[place], number, said[place]), asked[place].root)
                for place in these
            ]
            for place, answer in zip(these, self.then.ask(bundle, encoded, batch_size), strict=True):
                turn = asked[place].turns[number]
                choice = answer["choice"]
                told[place].append(
                    {"choice": choice, "values": answer["values"], "correct": choice == turn.answer}
                )
                said[place].append(turn.options[choice if self.config.earlier == "own" else turn.answer])
        last = [
            self.then.encode(bundle, _last(one, answers), one.root)
            for one, answers in zip(asked, said, strict=True)
        ]
        found = self.then.ask(bundle, last, batch_size)
        return [{**answer, "turns": turns} for answer, turns in zip(found, told, strict=True)]

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """As ``then``."""
        return dict(self.then.describe(bundle))


def _answered(one: Conversation, answers: list[str]) -> list[Message]:
    """The messages with these answers in the earlier turns."""
    messages = list(one.prompt.chat.messages)
    for turn, answer in zip(one.turns, answers, strict=False):
        messages[turn.place] = Message(role="assistant", content=(Text(text=answer),))
    return messages


def _turn(one: Conversation, number: int, answers: list[str]) -> Prompt:
    """What is asked in an earlier turn, behind the answers so far."""
    messages = _answered(one, answers)[: one.turns[number].place]
    chat = one.prompt.chat.model_copy(update={"messages": tuple(messages), "choices": None})
    return Prompt(chat, "", one.turns[number].options)


def _last(one: Conversation, answers: list[str]) -> Prompt:
    chat = one.prompt.chat.model_copy(update={"messages": tuple(_answered(one, answers))})
    return replace(one.prompt, chat=chat)


class EveryTurn:
    """Right only if every turn is."""

    takes = "ranking"

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``turns``, ``choice`` and ``answer``. ValueError for a row without turns."""
        if "turns" not in row:
            raise ValueError("metric 'every_turn' needs turns; use the inferencer 'multi_turn'")
        right = row["choice"] == row["answer"] and all(turn["correct"] for turn in row["turns"])
        return Judgement(row["choice"], right, True)
