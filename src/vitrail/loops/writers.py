"""The seam *writer*: who writes new examples of the skill that a wrong answer lacked.

A writer answers requests. What it proposes is judged by the loop (is it new? was enough written?), and every proposal
is kept in the round's folder, so that nobody is asked twice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field

from vitrail.curation.written_questions import parse_numbered_qa
from vitrail.data.records import Chat, Message, Text
from vitrail.inference.generation import GenerationSettings
from vitrail.loops.rounds import Partner, Settings, named
from vitrail.storage.cache import key

if TYPE_CHECKING:
    from vitrail.evaluation.scenarios import Item
    from vitrail.loops.rounds import Round

MOST_REQUESTED = 10


@dataclass(frozen=True)
class Request:
    """Write ``n`` examples like ``item``, whose right answer is ``reference`` and which was answered ``wrong``.

    ``kept``: examples that were taken from it before, to be unlike; ``attempt`` counts from 0.
    """

    item: Item
    reference: str
    wrong: str
    n: int
    attempt: int = 0
    kept: tuple[Chat, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What was written, each a chat that ends with its right answer, and what was left out for what reason."""

    chats: tuple[Chat, ...]
    rejected: dict[str, int] = field(default_factory=dict)


class Writer(Protocol):
    """Writes examples. ``name`` is for provenance."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def write(self, requests: Sequence[Request], here: Round, model: str) -> list[Proposal]:
        """A proposal for each request. ``model`` is the student as this round left it."""
        ...


SYSTEM = """\
You are a tutor. A student answered a problem wrongly. Write new problems that train the same skill: the same kind of \
problem, with other names, numbers and circumstances, in clear and short English. Each needs one correct answer in the \
form that the example's answer has. Write nothing else than a numbered list in exactly this layout:
1. Question: the problem
Answer: its answer"""
DEMONSTRATION = (
    "Question: A tray holds 4 rows of 6 cups. How many cups does it hold?\nRight answer: 4 * 6 = 24\n"
    "The student answered: 10\nWrite 1 new problem.",
    "1. Question: A shelf has 3 boards with 8 books each. How many books stand on it?\nAnswer: 3 * 8 = 24",
)


class Asking(Settings):
    """How a language model is asked to write: ``who`` (:data:`~vitrail.loops.rounds.Partner`); ``system``: what it is
    told; ``demonstration``: one request with its answer (null: none). ``show_picture``: to a writer that reads text
    alone, say false.
    """

    who: Partner
    system: str = SYSTEM
    demonstration: tuple[str, str] | None = DEMONSTRATION
    temperature: float = Field(default=1.0, ge=0)
    max_new_tokens: int = Field(default=512, ge=1)
    ascii_only: bool = False
    show_picture: bool = True


class ChatModel:
    """A language model writes: the student, another model of this machine, or one at an address.

    What it writes is about the seed's own picture, where there is one, and it is shown that picture.
    """

    class Config(Asking):
        """Who is asked, and how. ``marker``: what stands in front of every final answer, exactly once (GSM8K:
        ``####``).
        """

        marker: str | None = Field(default=None, min_length=1)

    things = "problem"
    """What it is asked for, in a request."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """Who."""
        return named(self.config.who)

    def write(self, requests: Sequence[Request], here: Round, model: str) -> list[Proposal]:
        """Ask for all requests at once, and read the lists."""
        c = self.config
        settings = GenerationSettings(
            max_new_tokens=c.max_new_tokens,
            temperature=c.temperature,
            seed=here.seed("written", requests[0].attempt) if c.temperature else 0,
        )
        chats = [self.prompt(one) for one in requests]
        replies = here.partner(c.who, model).ask(chats, settings, root=here.workshop.source().root)
        return [self._read(request, reply) for request, reply in zip(requests, replies, strict=True)]

    def prompt(self, request: Request) -> Chat:
        """What is asked: the wrong item, its right answer and the student's; on odd retries also what was kept."""
        c = self.config
        n = min(request.n + request.attempt, MOST_REQUESTED)
        text = self._given(request)
        if request.attempt % 2 and request.kept:
            written = "\n".join(f"- {question_of(one)}" for one in request.kept)
            text += f"You have written these already:\n{written}\nWrite {n} more, different ones."
        else:
            text += f"Write {n} new {self.things}{'s' if n > 1 else ''}."
        turns: list[Message] = [Message(role="system", content=(Text(text=c.system),))]
        if c.demonstration is not None:
            asked, answered = c.demonstration
            turns += [Message(role="user", content=asked), Message(role="assistant", content=answered)]  # type: ignore[arg-type]
        pictures = request.item.chat.images if c.show_picture else []
        turns.append(Message(role="user", content=(*pictures, Text(text=text))))
        return Chat(id=f"{request.item.id}/{request.attempt}", messages=tuple(turns))

    def _given(self, request: Request) -> str:
        """What is said in front of the request."""
        question = request.item.chat.messages[-1].text
        return f"Question: {question}\nRight answer: {request.reference}\nThe student answered: {request.wrong}\n"

    def _read(self, request: Request, reply: Any) -> Proposal:
        """A model's reply as examples."""
        c = self.config
        found = parse_numbered_qa(
            reply.text, finished=reply.finished, marker=c.marker, ascii_only=c.ascii_only
        )
        images = request.item.chat.images
        chats = [_chat((*images, Text(text=question)), answer) for question, answer in found.pairs]
        return Proposal(tuple(chats), found.rejected)


class Scenes:
    """A program composes another scene of the same suite and puts the same kind of question to it: free, and exact.

    For seeds that are questions about composed scenes. ``same``: the new question has the kind of the old one, or also
    its right answer. ``wrong`` is the share of new examples that get a wrong answer, drawn from the options: a teacher
    of known quality.
    """

    class Config(Settings):
        """``tries``: scenes looked at for one of the same answer, before any of the kind is taken."""

        same: Literal["kind", "answer"] = "kind"
        wrong: float = Field(default=0.0, ge=0, le=1)
        tries: int = Field(default=60, ge=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """What it is."""
        return "scenes"

    def write(self, requests: Sequence[Request], here: Round, model: str) -> list[Proposal]:
        """New scenes. ValueError for a seed that is no question about a composed scene."""
        return [self._scenes(one, here.seed("scenes")) for one in requests]

    def _scenes(self, request: Request, seed: int) -> Proposal:
        meta = request.item.chat.meta
        if not {"suite", "names", "kind"} <= set(meta):
            raise ValueError(
                f"seed {request.item.id!r} is no question about a composed scene; take the writer chat_model"
            )
        return Proposal(tuple(self._one(request, meta, key("scene", seed, request.item.id, request.attempt, number))
                              for number in range(request.n)))  # fmt: skip

    def _one(self, request: Request, meta: Any, name: str) -> Chat:
        from vitrail.data.scenes import suite

        made = suite(meta["suite"])
        tries = self.config.tries if self.config.same == "answer" else 1
        source = made.questions("train", meta["names"], int(name[:12], 16), tries, (meta["kind"],))
        found = 0
        if tries > 1:
            same = (index for index in range(tries) if source.question(index).answer == request.reference)
            found = next(same, 0)
        chat, question = source[found], source.question(found)
        chance, answer = random.Random(name), question.answer
        if chance.random() < self.config.wrong:
            answer = chance.choice([one for one in question.options if one != answer])
        return _chat(chat.messages[-1].content, answer, {**chat.meta, "kind": question.kind})


def _chat(content: Any, answer: str, meta: dict[str, Any] | None = None) -> Chat:
    turns = (Message(role="user", content=tuple(content)), Message(role="assistant", content=answer))  # type: ignore[arg-type]
    return Chat(messages=turns, meta=meta or {})


def question_of(chat: Chat) -> str:
    """The question of a chat that ends with its answer."""
    return chat.messages[-2].text
