"""The seam *metric*: what an answer is worth. It judges one row of the answers file by itself.

A metric that measures a distance from the reference, instead of right and wrong, also has ``loss(row)``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from vitrail.evaluation.reading import READINGS, contained_text, holds, plain
from vitrail.evaluation.task import Settings


class Judgement(NamedTuple):
    """``prediction``: the option taken, where there are options. ``parsed``: whether an answer could be read
    at all.

    ``correct`` is False where nothing could be read; the two are counted apart.
    """

    prediction: int | None
    correct: bool
    parsed: bool


class Accuracy:
    """The highest-ranked option is the right one."""

    takes = "ranking"

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``choice`` and ``answer``."""
        return Judgement(row["choice"], row["choice"] == row["answer"], True)


class Loss:
    """The mean negative log-likelihood of the reference answer's tokens, in nats a token."""

    takes = "loss"

    class Config(Settings):
        """Nothing to set."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Neither right nor wrong."""
        return Judgement(None, False, True)

    def loss(self, row: dict[str, Any]) -> float:
        """Of a row with ``logprob`` and ``tokens``, in nats a token; less is better."""
        return -row["logprob"] / row["tokens"]


class Match:
    """An answer in words says the right option, or the reference.

    Options are read from it as ``reading`` says (:mod:`vitrail.evaluation.reading`); a reference is compared
    without case, accents' encoding, punctuation around and articles.
    """

    takes = "text"

    class Config(Settings):
        """``reference``: an open answer must equal the reference (``exact``) or hold its words in order
        (``contains``).

        ``reading``: how an option is read from the answer, as this library does or as a benchmark's own script.
        ``letters``: whether a letter names an option (not where the options were shown without letters).
        """

        reference: Literal["exact", "contains"] = "exact"
        reading: Literal[
            "words",
            "first-character",
            "first-letter-word",
            "last-letter",
            "first-capital",
            "alone",
            "contained-text",
        ] = "words"
        letters: bool = True

        @model_validator(mode="after")
        def _letters_are_read(self) -> Match.Config:
            if not self.letters and self.reading not in ("words", "contained-text"):
                raise ValueError(
                    f"letters is False, but reading {self.reading!r} reads letters alone; remove one"
                )
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``options`` and ``answer``, or ``reference``."""
        if row.get("options"):
            found = self._read(row)
            return Judgement(found, found == row["answer"], found is not None)
        said, wanted = plain(row["text"]), plain(row["reference"])
        if not said:
            return Judgement(None, False, False)
        right = said == wanted if self.config.reference == "exact" else holds(said, wanted)
        return Judgement(None, right, True)

    def _read(self, row: dict[str, Any]) -> int | None:
        if self.config.reading == "contained-text":
            return contained_text(row["text"], row["options"], row["answer"])
        return READINGS[self.config.reading](row["text"], row["options"], self.config.letters)
