"""The inferencer *membership*: every token's log-probability of a text, an answer or a benchmark's item, to be audited.

Min-K % and kin (:mod:`vitrail.analysis.min_k`) are then pure functions of the rows. The instruction *item_text* makes
of a question with options the text that a leaked copy of it would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from vitrail.analysis import min_k as scores
from vitrail.data.records import Document, Text
from vitrail.evaluation.inferencers import DIGITS, Asked
from vitrail.evaluation.instructions import Prompt
from vitrail.evaluation.reading import LETTERS
from vitrail.evaluation.scenarios import Item
from vitrail.evaluation.task import Settings

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle


@dataclass(frozen=True)
class AskedText(Asked):
    """A text's parts, the text itself, and the parts of its lower-case form."""

    text: str = ""
    lower: Asked | None = None


class Membership:
    """Log-probabilities of all tokens, for Min-K % and kin."""

    gives = "loss"

    class Config(Settings):
        """``lowercase``: read the text in lower case as well (a second pass)."""

        lowercase: bool = Field(default=True)

    def __init__(self, config: Config) -> None:
        self.config = config

    def encode(self, bundle: Bundle, prompt: Prompt, root: Path | None) -> AskedText:
        """Tokens of the text, or of the reference answer behind its question.

        ValueError for options, fewer than two tokens of a text, or more than the model's context.
        """
        from vitrail.analysis.token_logprobs import parts
        from vitrail.models.documents import text_of

        if prompt.reference is None:
            raise ValueError("has options and no text to read; use the instruction 'item_text'")
        if prompt.text is not None:
            text = text_of(prompt.text) or ""
            given, ids = parts(bundle, text)
        else:
            from vitrail.data.records import Message

            text = prompt.reference
            said = Message(role="assistant", content=(Text(text=text),))
            chat = prompt.chat.model_copy(update={"messages": (*prompt.chat.messages, said)})
            given, ids = parts(bundle, chat, root)
        lower = None
        if self.config.lowercase and prompt.text is not None and text != text.lower():
            other, tokens = parts(bundle, text.lower())
            lower = Asked(other, (tokens,))
        return AskedText(given, (ids,), (), text, lower)

    def ask(self, bundle: Bundle, asked: list[AskedText], batch_size: int) -> list[dict[str, Any]]:
        """For each: ``token_logprobs``, their sum ``logprob`` and number ``tokens``, ``lower`` (the mean NLL of the
        lower-case text; None where that was not read), ``read``, the text itself, and ``zlib``, its bytes when
        compressed.
        """
        import zlib

        from vitrail.inference.likelihood import option_logprobs

        every = [*asked, *(one.lower for one in asked if one.lower is not None)]
        items = [(one.prompt, one.options) for one in every]
        found = option_logprobs(bundle.model, bundle.collator(), items, batch_size=batch_size)
        lower = iter(found[len(asked) :])
        rows = []
        for one, own in zip(asked, found, strict=False):
            values = [round(value, DIGITS) for value in own.tokens[0]]
            nll = -float(np.mean(values))
            below = nll if self.config.lowercase and one.text == one.text.lower() else None
            if one.lower is not None:
                below = -float(np.mean(next(lower).tokens[0]))
            rows.append(
                {
                    "logprob": round(sum(values), DIGITS),
                    "tokens": len(values),
                    "token_logprobs": values,
                    "lower": below,
                    "read": one.text,
                    "zlib": len(zlib.compress(one.text.encode())),
                }
            )
        return rows

    def describe(self, bundle: Bundle) -> dict[str, Any]:
        """Nothing beyond the settings."""
        return {}


class ItemText:
    """Question, options and right answer as one text that is read: what a leaked copy would hold."""

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item. ValueError for options that are pictures, or a question without words."""
        from vitrail.evaluation.instructions import pictured

        if item.text is not None:
            return Prompt(item.chat, text=item.text, reference=item.reference)
        if item.options and pictured(item):
            raise ValueError("has pictures as options, which are no text to read")
        asked = item.chat.messages[-1].text.strip()
        if not asked:
            raise ValueError("the question has no words to read")
        lines = [asked, *(f"{letter}. {text}" for letter, text in zip(LETTERS, item.options, strict=False))]
        answer = item.reference if item.answer is None else item.options[item.answer]
        text = "\n".join([*lines, f"Answer: {answer}"])
        return Prompt(item.chat, text=Document(content=(Text(text=text),)), reference=text)


def row_scores(
    row: Mapping[str, Any], other: Mapping[str, Any] | None = None, shares: Sequence[float] = (0.1, 0.2, 0.4)
) -> dict[str, float]:
    """Every score of an answered row by name; a low one speaks for a member.

    ``other``: the same text's row under a reference model. Scores that a row does not allow are left out.
    """
    values = row["token_logprobs"]
    nll = scores.mean_nll(values)
    found = {"perplexity": nll, "zlib": nll / row["zlib"]}
    if row.get("lower") is not None and nll:
        found["lowercase"] = scores.lowercase_score(nll, row["lower"])
    if other is not None:
        found["reference"] = scores.reference_score(nll, scores.mean_nll(other["token_logprobs"]))
    for share in shares:
        if int(len(values) * share):
            found[f"Min-{100 * share:g} %"] = scores.min_k(values, share)
    return found
