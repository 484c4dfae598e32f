"""Documents dropped for what they hold as a whole: too little text, filler, words for adults, several toxic words.

The limits are mOSCAR's (arXiv 2406.08707), those of :class:`PageRules` InfiMM-WebMath's (arXiv 2409.12568). mOSCAR
joins "fewer than 5 texts" and "fewer than 300 characters" by "and", which is the default of ``combine``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from vitrail.curation.operations.operation import (
    Operation,
    OperationConfig,
    Outcome,
    dropped,
    kept,
    language_of,
    texts_of,
)
from vitrail.data.records import Document
from vitrail.storage.cache import file_digest

ADULT = r"\b(porn\w*|xxx+|hentai|nude\s+(?:girls|teens)|sex\s?(?:cam|chat|tube|videos?)\w*|escorts?|milf|blowjobs?)\b"
"""Our own short list; the paper names an expression without printing it."""


class DocumentLength(Operation):
    """Short documents go."""

    class Config(OperationConfig):
        """``min_texts`` and ``min_characters``; a document goes when it lacks both (``and``) or either (``or``).
        ``min_bytes`` is a condition of its own (100 after the joint filter).
        """

        min_texts: int = Field(default=5, ge=0)
        min_characters: int = Field(default=300, ge=0)
        combine: Literal["and", "or"] = "and"
        min_bytes: int = Field(default=0, ge=0)

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped as too short."""
        texts = texts_of(document)
        few = len(texts) < self.config.min_texts
        short = sum(map(len, texts)) < self.config.min_characters
        if (few and short) if self.config.combine == "and" else (few or short):
            return dropped("document too short")
        if sum(len(text.encode("utf-8", "replace")) for text in texts) < self.config.min_bytes:
            return dropped("too few bytes")
        return kept(document)


class PageRules(Operation):
    """Filler, punctuation and broken characters. Other rules of web corpora delete mathematics and are not here."""

    class Config(OperationConfig):
        """``lorem_ipsum_below``: only documents with fewer characters go for it (the paper says "short");
        ``max_punctuation``: a share of the characters that are no spaces, asked of ``punctuated`` languages alone;
        ``unicode_errors``: how many replacement characters a document may have.
        """

        lorem_ipsum_below: int = Field(default=1000, ge=0)
        max_punctuation: float = Field(default=0.3, ge=0, le=1)
        punctuated: tuple[str, ...] = ("en", "eng", "eng_Latn")
        unicode_errors: int = Field(default=0, ge=0)

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped by the first rule that is broken."""
        rules, text = self.config, "\n".join(texts_of(document))
        if len(text) < rules.lorem_ipsum_below and "lorem ipsum" in text.lower():
            return dropped("lorem ipsum")
        if text.count("\ufffd") > rules.unicode_errors:
            return dropped("unicode errors")
        if language_of(document) in rules.punctuated:
            signs = [sign for sign in text if not sign.isspace()]
            marks = sum(unicodedata.category(sign).startswith("P") for sign in signs)
            if marks > rules.max_punctuation * len(signs):
                return dropped("punctuation")
        return kept(document)


class AdultContent(Operation):
    """A document goes when one of its texts matches ``pattern`` (a regular expression, case ignored)."""

    class Config(OperationConfig):
        """``pattern``: by default a short English list."""

        pattern: str = ADULT

        @model_validator(mode="after")
        def _compiles(self) -> AdultContent.Config:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern is no regular expression ({error}); correct it") from None
            return self

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._pattern = re.compile(self.config.pattern, re.IGNORECASE)

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped."""
        if any(self._pattern.search(text) for text in texts_of(document)):
            return dropped("adult content")
        return kept(document)


class ToxicWords(Operation):
    """A document goes when ``min_distinct`` different words of its language's list occur; a repeated one counts once.

    ``folder`` holds the lists as the NLLB project lays them out: ``<language>.txt``, or ``<language>_twl.txt``, an
    entry a line. A language without a list is not judged. Languages written without spaces are searched for entries
    anywhere, others for whole words.
    """

    class Config(OperationConfig):
        """See :class:`ToxicWords`."""

        folder: str
        min_distinct: int = Field(default=2, ge=1)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if not Path(config.folder).is_dir():
            raise ValueError(f"toxic_words.folder: there is no folder {config.folder}; correct the path")

    def fingerprint(self) -> dict[str, Any]:
        """The digests of the lists."""
        files = sorted(Path(self.config.folder).glob("*.txt"))
        return {path.name: file_digest(path) for path in files}

    def __call__(self, document: Document) -> Outcome:
        """Kept, or dropped."""
        pattern = _toxic(self.config.folder, language_of(document))
        if pattern is None:
            return kept(document)
        found: set[str] = set()
        for text in texts_of(document):
            found.update(pattern.findall(_folded(text)))
        return dropped("toxic words") if len(found) >= self.config.min_distinct else kept(document)


_NO_SPACES = ("Jpan", "Hans", "Hant", "Thai", "Laoo", "Khmr", "Mymr", "Tibt")


@cache
def _toxic(folder: str, language: str) -> re.Pattern[str] | None:
    for name in (f"{language}.txt", f"{language}_twl.txt"):
        path = Path(folder) / name
        if language and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            entries = sorted({_folded(line.strip()) for line in lines if line.strip()}, key=len, reverse=True)
            inner = "|".join(map(re.escape, entries))
            if not entries:
                return None
            return re.compile(inner if language[-4:] in _NO_SPACES else rf"(?<!\w)(?:{inner})(?!\w)")
    return None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
