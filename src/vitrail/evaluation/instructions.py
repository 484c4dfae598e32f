"""The seam *instruction*: how a question is put to the model."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Literal

from pydantic import field_validator

from vitrail.data.records import Chat, Content, Document, Message, Text
from vitrail.evaluation.scenarios import Item
from vitrail.evaluation.task import Settings
from vitrail.registry import nearest

QUERIES = {
    "standard": "{question}",
    "brief": "{question}\nAnswer with a word or a short phrase.",
    "options": "{question}\nChoose from: {options}.",
    "picture": "Look at the picture. {question}",
    "question-answer": "Question: {question}\nAnswer:",
}
"""Queries by name; ``{question}`` is the record's own text, ``{options}`` its options with commas between."""

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Prompt:
    """What the model is shown.

    ``beginning`` starts its answer and is not scored; ``options`` are the texts that may follow it, in the
    order of the record's options; ``reference`` is the answer of a question without options. ``text``: what is read
    instead, from its beginning, where nothing is asked.
    """

    chat: Chat
    beginning: str = ""
    options: tuple[str, ...] = ()
    reference: str | None = None
    text: Document | None = None


class Plain:
    """The record's own question; an option's text is the answer."""

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item. ValueError for options that are pictures."""
        _require_texts(item)
        return Prompt(item.chat, "", item.options, item.reference, item.text)


class Template:
    """A query around the question, and an answer template around each option."""

    class Config(Settings):
        """``query``: a name from :data:`QUERIES`, or a text that holds ``{question}`` (and perhaps
        ``{options}``).

        ``answer`` holds ``{option}`` once: what stands before it begins the answer and is not scored, what
        stands behind it is left out. ``system`` is put first where the record has no system message.
        """

        query: str = "standard"
        answer: str = "{option}"
        system: str | None = None

        @field_validator("query")
        @classmethod
        def _known(cls, query: str) -> str:
            if query not in QUERIES and query.count("{question}") != 1:
                raise ValueError(
                    f"query {query!r} is no known name, and a text must hold {{question}} once; "
                    f"{nearest(query, sorted(QUERIES))}"
                )
            return query

        @field_validator("answer")
        @classmethod
        def _one_option(cls, answer: str) -> str:
            if answer.count("{option}") != 1:
                raise ValueError(f"answer {answer!r} must hold {{option}} exactly once")
            return answer

    def __init__(self, config: Config) -> None:
        self.config = config
        self.query = QUERIES.get(config.query, config.query)

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item. ValueError for a text, or where the query wants options and the item has none."""
        _require_question(item)
        _require_texts(item)
        if "{options}" in self.query and not item.options:
            raise ValueError("the query lists options, but this question has none")
        beginning = self.config.answer.partition("{option}")[0]
        # A space belongs to the word behind it in most vocabularies, so it goes with the option.
        stripped = beginning.rstrip(" ")
        space = beginning[len(stripped) :]
        chat = asked(item.chat, self.query, item.options, self.config.system)
        reference = None if item.reference is None else space + item.reference
        return Prompt(chat, stripped, tuple(space + option for option in item.options), reference)


class Lettered:
    """Options are listed with letters under the question; the letter is the answer, or letter and text.

    Options that are pictures are listed as pictures behind their letters.
    """

    class Config(Settings):
        """``answer``: ``letter`` ("A"), or ``letter_and_text`` ("A. a cat"). ``query``: as ``template``'s.

        ``listed``: the question lists its options itself, and ``query`` holds no ``{options}``. ``without_options``: a
        question that has none is refused, or asked as it is (``ask``).
        """

        query: str = "{question}\n{options}\nAnswer with the letter."
        answer: Literal["letter", "letter_and_text"] = "letter"
        listed: bool = False
        without_options: Literal["refuse", "ask"] = "refuse"

    def __init__(self, config: Config) -> None:
        if config.query.count("{question}") != 1 or ("{options}" in config.query) == config.listed:
            also = ", and no {options}, which the question lists" if config.listed else ", and {options}"
            raise ValueError(f"query {config.query!r} must hold {{question}} once{also}")
        self.config = config

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item. ValueError for an item without options, or more than letters."""
        _require_question(item)
        if not item.options and self.config.without_options == "ask":
            return Prompt(item.chat, "", (), item.reference)
        if not item.options or len(item.options) > len(LETTERS):
            raise ValueError(f"{len(item.options)} options cannot be given letters")
        letters = tuple(LETTERS[: len(item.options)])
        if pictured(item):
            if self.config.listed:
                raise ValueError(
                    "has pictures as options, so its question cannot list them; set listed: false"
                )
            return Prompt(with_pictures(item.chat, self.config.query), "", letters)
        listed = tuple(f"{letter}. {option}" for letter, option in zip(letters, item.options, strict=True))
        chat = asked(item.chat, self.config.query, listed, None, between="\n")
        return Prompt(chat, "", letters if self.config.answer == "letter" else listed)


def pictured(item: Item) -> bool:
    """Whether an item's options are pictures."""
    choices = item.chat.choices
    return choices is not None and not isinstance(choices.options[0][0], Text)


def with_pictures(chat: Chat, query: str) -> Chat:
    """The chat with ``query`` around its last turn, ``{options}`` being letters, each with its picture behind it."""
    assert chat.choices is not None
    listed = chat.choices.options
    before, after = query.split("{options}")
    chat = asked(chat, before, (), None)
    *earlier, last = chat.messages
    parts: list[Content] = list(last.content)
    for letter, option in zip(LETTERS, listed, strict=False):
        parts += [Text(text=f"{letter}. "), *option, Text(text="\n")]
    last = last.model_copy(update={"content": (*parts, Text(text=after.lstrip("\n")))})
    return chat.model_copy(update={"messages": (*earlier, last)})


def _require_question(item: Item) -> None:
    if item.text is not None:
        raise ValueError("is a text, which is read and not asked; use the instruction 'plain'")


def _require_texts(item: Item) -> None:
    if pictured(item):
        raise ValueError("has pictures as options, which cannot be said; use the instruction 'lettered'")


def asked(chat: Chat, query: str, options: tuple[str, ...], system: str | None, between: str = ", ") -> Chat:
    """The chat with ``query`` around the texts of its last turn; pictures stay where they are.

    Braces in the question or in an option are text: only the query's own are filled in.
    """
    before, after = (
        re.sub(r"\{options\}", lambda _: between.join(options), part) for part in query.split("{question}")
    )
    *earlier, last = chat.messages
    parts: list[Content] = list(last.content)
    places = [index for index, part in enumerate(parts) if isinstance(part, Text)]
    if not places:
        raise ValueError("the user's last turn holds no text, so there is no question")
    first, end = places[0], places[-1]
    parts[first] = Text(text=before + parts[first].text)  # type: ignore[union-attr]
    parts[end] = Text(text=parts[end].text + after)  # type: ignore[union-attr]
    messages = [*earlier, last.model_copy(update={"content": tuple(parts)})]
    if system is not None and messages[0].role != "system":
        messages.insert(0, Message(role="system", content=(Text(text=system),)))
    return chat.model_copy(update={"messages": tuple(messages)})
