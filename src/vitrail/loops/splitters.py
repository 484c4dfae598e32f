"""The seam *splitter*: answers → claims → yes/no questions (the divide step of RLAIF-V, arXiv 2405.17220)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from vitrail.curation.claims import FACTS, QUESTIONS, claim_to_question, read_list, split_claims
from vitrail.inference.answerers import question
from vitrail.inference.generation import GenerationSettings
from vitrail.loops.rounds import Partner, Settings, named

if TYPE_CHECKING:
    from vitrail.loops.rounds import Round


@dataclass(frozen=True)
class Divided:
    """The claims of an answer and a question for each; ``why`` it is left out, where it is."""

    claims: tuple[str, ...]
    questions: tuple[str, ...]
    why: str | None = None


class Splitter(Protocol):
    """Takes answers apart."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def divide(self, answers: Sequence[tuple[str, str]], here: Round, model: str) -> list[Divided]:
        """Of ``(question, answer)`` each. ``model``: that of the round."""
        ...


class Rules:
    """By rule (:mod:`vitrail.curation.claims`): sentences, and the things that captions list. Free; for English."""

    class Config(Settings):
        """Nothing to set."""

    name = "rules"

    def __init__(self, config: Config) -> None:
        self.config = config

    def divide(self, answers: Sequence[tuple[str, str]], here: Round, model: str) -> list[Divided]:
        """Claims and questions by rule."""
        split = [split_claims(answer) for _, answer in answers]
        return [_checked(claims, [claim_to_question(one) for one in claims]) for claims in split]


TO_FACTS = """\
Below are a question about a picture and somebody's answer. Rewrite the answer as a list of facts. Each fact is one \
short sentence that says one thing about the picture and can be understood without the others. Leave out opinions, \
guesses and remarks about anything that is not in the picture. Write "{facts}", then one fact a line, each behind "- ".

Question: {question}
Answer: {answer}
{facts}
"""
TO_QUESTIONS = """\
Turn each fact below into a question that is answered by yes or no. Change neither its tense nor what it says; where \
the fact denies something, so does the question, so that "yes" always means that the fact holds. Write "{questions}", \
then one question a line, each behind "- ", in the order of the facts.

{facts}
{listed}
{questions}
"""


class ChatModel:
    """A language model rewrites: the model itself, another one of this machine, or one at an address."""

    class Config(Settings):
        """``who``: see :data:`~vitrail.loops.rounds.Partner`. ``to_facts`` holds ``{question}``, ``{answer}`` and
        ``{facts}`` (the header); ``to_questions`` ``{listed}``, ``{facts}`` and ``{questions}``.
        """

        who: Partner = "self"
        to_facts: str = TO_FACTS
        to_questions: str = TO_QUESTIONS
        temperature: float = Field(default=0.2, ge=0)
        top_p: float = Field(default=0.9, gt=0, le=1)
        max_new_tokens: int = Field(default=512, ge=1)

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """Who."""
        return named(self.config.who)

    def divide(self, answers: Sequence[tuple[str, str]], here: Round, model: str) -> list[Divided]:
        """Two requests an answer. One whose facts and questions are not equally many is left out."""
        c = self.config
        who = here.partner(c.who, model)
        sampling: dict[str, Any] = {"top_p": c.top_p, "seed": here.seed("divide")} if c.temperature else {}
        settings = GenerationSettings(max_new_tokens=c.max_new_tokens, temperature=c.temperature, **sampling)
        prompts = [
            _filled(c.to_facts, question=asked, answer=answer, facts=FACTS) for asked, answer in answers
        ]
        claims = [read_list(one.text, FACTS) for one in who.ask([question(one) for one in prompts], settings)]
        some = [place for place, one in enumerate(claims) if one]
        lists = ["\n".join(f"- {claim}" for claim in claims[place]) for place in some]
        prompts = [_filled(c.to_questions, listed=one, facts=FACTS, questions=QUESTIONS) for one in lists]
        replies = who.ask([question(one) for one in prompts], settings) if prompts else []
        asked = {place: read_list(one.text, QUESTIONS) for place, one in zip(some, replies, strict=True)}
        return [_checked(claims[place], asked.get(place, [])) for place in range(len(answers))]


def _filled(template: str, **values: str) -> str:
    """The template with its fields; braces inside the values stay."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _checked(claims: Sequence[str], questions: Sequence[str]) -> Divided:
    if not claims:
        return Divided((), (), "no claim in it")
    if len(claims) != len(questions):
        return Divided(tuple(claims), tuple(questions), "claims and questions are not equally many")
    return Divided(tuple(claims), tuple(questions))
