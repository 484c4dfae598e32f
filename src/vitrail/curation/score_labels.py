"""Scores of a large language model as labels for a small classifier (InfiMM-WebMath, arXiv 2409.12568; FineWeb-Edu).

A model reads each text and scores it from 0 to 10. Texts with 6 or more are positives, and as many negatives come from
elsewhere. An answer without a score is counted as unscored, never as 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrail.curation.text_classifier import TextClassifier
    from vitrail.inference.answerers import Answerer

PROMPT = """\
Below is an extract from a web page. Score from 0 to 10 how useful it is for learning mathematics.

- Add points if the extract contains mathematics at all: definitions, formulas, calculations.
- Add points if it reasons: a problem with its solution, a proof, steps that follow from each other.
- Add points if it is clear, correct and complete enough to learn from.
- Give 0 to advertisements, lists of links, and text that only mentions numbers.

The extract:
{text}

Say in at most 60 words why, then finish with "Score: " and the number.
"""
"""Our words; the paper says that its own are like FineWeb-Edu's and does not print them."""

_SCORE = re.compile(
    r"score\W{0,12}(?:is\s+|of\s+)?(\d+(?:\.\d+)?)(?!\d)(?:\s*(?:/|out of)\s*(\d+))?", re.IGNORECASE
)
_ALONE = re.compile(r"\s*\**(\d+(?:\.\d+)?)\**(?:\s*(?:/|out of)\s*(\d+))?\.?\s*")


def parse_score(answer: str, highest: int = 10) -> int | None:
    """The score that an answer ends with, or that it is; None without one, above ``highest``, or of another scale."""
    found = _SCORE.findall(answer)
    if not found:
        alone = _ALONE.fullmatch(answer)
        found = [alone.groups("")] if alone else []
    if not found:
        return None
    value, scale = found[-1]
    if scale and int(scale) != highest:
        return None
    return int(float(value)) if float(value) <= highest else None


@dataclass(frozen=True)
class Labels:
    """A score for each text, None where the answer had none."""

    scores: tuple[int | None, ...]

    @property
    def unscored(self) -> int:
        """How many texts have no score."""
        return sum(score is None for score in self.scores)


class LLMScoreLabeller:
    """Scores texts by an answerer: a model here, a model at an address, or a function.

    Of a text the first ``max_characters`` are shown. ``prompt`` holds ``{text}``.
    """

    def __init__(
        self,
        answerer: Answerer,
        prompt: str = PROMPT,
        parse: Callable[[str], int | None] = parse_score,
        *,
        max_characters: int = 3000,
        max_new_tokens: int = 160,
    ) -> None:
        if "{text}" not in prompt:
            raise ValueError("prompt has no {text}; say where the page's text stands")
        self.answerer, self.prompt, self.parse = answerer, prompt, parse
        self.max_characters, self.max_new_tokens = max_characters, max_new_tokens

    def score(self, texts: Sequence[str]) -> Labels:
        """The scores, in order."""
        from vitrail.inference.answerers import question
        from vitrail.inference.generation import GenerationSettings

        settings = GenerationSettings(max_new_tokens=self.max_new_tokens)
        chats = [question(self.prompt.replace("{text}", text[: self.max_characters])) for text in texts]
        replies = self.answerer.ask(chats, settings)
        return Labels(tuple(self.parse(reply.text) for reply in replies))


def bootstrap_classifier(
    texts: Sequence[str],
    labeller: LLMScoreLabeller,
    negatives: Sequence[str],
    *,
    pos_threshold: int = 6,
    balance: bool = True,
    **fit: Any,
) -> tuple[TextClassifier, Labels]:
    """A classifier whose positives are the ``texts`` scored ``pos_threshold`` or more; and all scores.

    ``balance``: of the longer class only as many as the other has, the first ones. ValueError where no text reaches
    the threshold (with how many have no score), or no negative is given.
    """
    from vitrail.curation.text_classifier import TextClassifier

    labels = labeller.score(texts)
    positives = [
        text
        for text, score in zip(texts, labels.scores, strict=True)
        if score is not None and score >= pos_threshold
    ]
    if not positives:
        raise ValueError(
            f"no text is scored {pos_threshold} or more ({labels.unscored:,} of {len(texts):,} have no score); lower "
            "the threshold, or ask another model"
        )
    size = min(len(positives), len(negatives)) if balance else None
    return TextClassifier.fit(positives[:size], list(negatives)[:size], **fit), labels
