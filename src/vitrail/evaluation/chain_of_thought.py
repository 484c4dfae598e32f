"""Think first, then answer: the model's own reasoning stands at the beginning of its answer (ChEF's CoT).

The question is asked with ``ask`` appended, and what the model writes begins the assistant's turn of the question as it
was, before the answer template; then options are ranked, or an answer is written, behind it. An empty thought changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from vitrail.evaluation.inferencers import Asked, Generate
from vitrail.evaluation.instructions import Prompt, asked
from vitrail.evaluation.task import Settings, built, part_settings

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class Thinking:
    """A prompt with what is asked first, and where its pictures are."""

    prompt: Prompt
    root: Path | None
    first: Asked


class ChainOfThought:
    """Thoughts in words, then a ranking of the options."""

    gives = "ranking"
    answers_by = "likelihood"

    class Config(Settings):
        """``then``: how the answer is given behind the thoughts; ``max_new_tokens``: of the thoughts; ``ask``: what
        makes the model think.
        """

        then: dict[str, Any] = Field(default="likelihood", validate_default=True)  # type: ignore[assignment]
        max_new_tokens: int = Field(default=256, ge=1)
        ask: str = "Let's think step by step."

        @field_validator("then", mode="before")
        @classmethod
        def _inner(cls, value: Any) -> Any:
            found = part_settings("inferencer", value)
            if found["name"] not in ("likelihood", "generate"):
                raise ValueError(
                    f"then is {found['name']!r}; use likelihood (inferencer cot) or generate (cot_words)"
                )
            return found

    def __init__(self, config: Config) -> None:
        if config.then["name"] != self.answers_by:
            raise ValueError(f"then is {config.then['name']!r}, but this inferencer gives a {self.gives}")
        self.config = config
        self.thinks = Generate(Generate.Config(max_new_tokens=config.max_new_tokens))
        self.then = built("inferencer", config.then)

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> Thinking:
        """What is asked first. ValueError where question, thoughts and the longest answer may not fit."""
        from vitrail.inference.inputs import context_length

        if prompt.text is not None:
            raise ValueError("is a text, and nothing is asked; use the inferencer 'reference'")
        chat = asked(prompt.chat, f"{{question}}\n{self.config.ask}", (), None)
        first = self.thinks.encode(bundle, replace(prompt, chat=chat, beginning=""), root)
        last = self.then.encode(bundle, prompt, root)
        longest = max(map(len, last.options), default=0)
        total, limit = last.prompt.length + self.config.max_new_tokens + longest, context_length(bundle.model)
        if limit is not None and total > limit:
            raise ValueError(
                f"question, thoughts and answer have up to {total} tokens; the context is {limit}"
            )
        return Thinking(prompt, root, first)

    def ask(self, bundle: Bundle, asked: list[Thinking], batch_size: int) -> list[dict[str, Any]]:
        """As ``then`` gives, and the ``thought``."""
        thoughts = [one["text"] for one in self.thinks.ask(bundle, [one.first for one in asked], batch_size)]
        prompts = [behind(one.prompt, thought) for one, thought in zip(asked, thoughts, strict=True)]
        second = [
            self.then.encode(bundle, prompt, one.root) for one, prompt in zip(asked, prompts, strict=True)
        ]
        answers = self.then.ask(bundle, second, batch_size)
        return [{**answer, "thought": thought} for answer, thought in zip(answers, thoughts, strict=True)]

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """As ``then``."""
        found: dict[str, Any] = self.then.describe(bundle)
        return found


class ChainOfThoughtInWords(ChainOfThought):
    """Thoughts in words, then an answer in words."""

    gives = "text"
    answers_by = "generate"

    class Config(ChainOfThought.Config):
        """As of ``cot``."""

        then: dict[str, Any] = Field(default="generate", validate_default=True)  # type: ignore[assignment]


def behind(prompt: Prompt, thought: str) -> Prompt:
    """The prompt whose answer begins with a thought; itself for an empty one."""
    thought = thought.strip()
    if not thought:
        return prompt
    return replace(prompt, beginning=f"{thought}\n{prompt.beginning}")
