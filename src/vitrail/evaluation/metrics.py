"""The seam *metric*: what an answer is worth. It judges one row of the answers file by itself.

A metric that measures a distance from the reference, instead of right and wrong, also has ``loss(row)``.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Any, Literal, NamedTuple

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

    Options are read from it as ChEF does: a single letter, a letter in brackets or with punctuation, an
    option's exact text, the only option that it contains. Case, accents' encoding, punctuation around and
    articles do not matter.
    """

    takes = "text"

    class Config(Settings):
        """``reference``: an open answer must equal the reference (``exact``) or hold its words in order
        (``contains``).

        ``letters``: whether a letter names an option (not where the options were shown without letters).
        """

        reference: Literal["exact", "contains"] = "exact"
        letters: bool = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, row: dict[str, Any]) -> Judgement:
        """Judge a row with ``text`` and ``options`` and ``answer``, or ``reference``."""
        if row.get("options"):
            found = read_option(row["text"], row["options"], self.config.letters)
            return Judgement(found, found == row["answer"], found is not None)
        said, wanted = plain(row["text"]), plain(row["reference"])
        if not said:
            return Judgement(None, False, False)
        right = said == wanted if self.config.reference == "exact" else _holds(said, wanted)
        return Judgement(None, right, True)


_LETTER = re.compile(r"^\W*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])(?:[.):,]|$))", re.ASCII)
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")


def read_option(text: str, options: list[str], letters: bool = True) -> int | None:
    """The option that ``text`` names, or None if it names none or several."""
    said = plain(text)
    plains = [plain(option) for option in options]
    if said in plains:
        return plains.index(said)
    if letters and (found := _LETTER.match(text.strip())):
        place = string.ascii_uppercase.index(next(filter(None, found.groups())).upper())
        return place if place < len(options) else None
    held = [index for index, option in enumerate(plains) if _holds(said, option)]
    # An option inside another one that is named too ("cat" in "black cat") is not meant.
    meant = [i for i in held if not any(i != j and _holds(plains[j], plains[i]) for j in held)]
    return meant[0] if len(meant) == 1 else None


def plain(text: str) -> str:
    """Lower case, one space between words, no punctuation or article at the ends."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _ARTICLE.sub("", text.strip(string.punctuation + string.whitespace + "“”‘’„«»…"))


def _holds(text: str, words: str) -> bool:
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
