r"""Texts of a document that are no prose go; the rest is cleaned of addresses and of runs of signs.

The rules are mOSCAR's (arXiv 2406.08707), each with its limit as a setting. A text is Latin when more than half of its
letters are. The paper's main part keeps texts longer than 10 bytes after cleaning, its appendix 5.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from pydantic import Field

from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, without_parts
from vitrail.data.records import Document, Text

_DATE = re.compile(
    r"\b(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}\.? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,? \d{4}"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2},? \d{4})\b",
    re.IGNORECASE,
)
_COMPARED = ("≥", "≤", ">", "<")
_SPOKEN = ("follow us", "javascript", "copyright", "©")
_LABELS = frozenset(
    ("comment", "facebook", "instagram", "twitter", "rss", "newsletter", "share", "follow us")
)
_ADDRESS = re.compile(r"(?:https?://|ftp://|www\.)\S+", re.IGNORECASE)
_RUNS = re.compile(r"([\t\n#/$()\[\]!?%<>])(?:\s*\1)+")


class TextRules(Operation):
    """Each text is held against the rules, then cleaned; a document without a text is dropped."""

    class Config(OperationConfig):
        """Limits: shares are of a text's characters (spaces left out), lengths in bytes of UTF-8."""

        min_bytes_latin: int = Field(default=5, ge=0)
        min_bytes_other: int = Field(default=15, ge=0)
        max_digits: float = Field(default=0.3, ge=0, le=1)
        max_dates: int = Field(default=1, ge=0)
        max_non_alphabetic: float = Field(default=0.33, ge=0, le=1)
        max_comparisons: int = Field(default=2, ge=0)
        max_capitals: float = Field(default=0.2, ge=0, le=1)
        max_one_character: float = Field(default=0.33, ge=0, le=1)
        min_bytes_cleaned: int = Field(default=10, ge=0)

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document with its prose."""
        why: list[str | None] = []
        content = []
        for part in document.content:
            reason = self.why_not(part.text) if isinstance(part, Text) else None
            if isinstance(part, Text) and reason is None:
                text = cleaned(part.text)
                if len(text.encode("utf-8", "replace")) <= self.config.min_bytes_cleaned:
                    reason = "too short when cleaned"
                part = part if text == part.text else Text(text=text)
            content.append(part)
            why.append(reason)
        new = any(a is not b for a, b in zip(content, document.content, strict=True))
        outcome = without_parts(
            document.model_copy(update={"content": tuple(content)}) if new else document, why
        )
        if outcome.document is None:
            return outcome
        return Outcome(outcome.document, removed=outcome.removed, changed=new or outcome.changed)

    def why_not(self, text: str) -> str | None:
        """The first rule that a text breaks, or None."""
        rules = self.config
        text = text.strip()
        if not text:
            return "empty"
        latin = is_latin(text)
        if len(text.encode("utf-8", "replace")) < (rules.min_bytes_latin if latin else rules.min_bytes_other):
            return "too short"
        signs = [sign for sign in text if not sign.isspace()]
        size = len(signs)
        if sum(map(str.isdigit, signs)) > rules.max_digits * size:
            return "digits"
        if len(_DATE.findall(text)) > rules.max_dates:
            return "dates"
        lower = text.lower()
        if "lorem ipsum" in lower:
            return "lorem ipsum"
        if sum(not _alphabetic(sign) for sign in signs) > rules.max_non_alphabetic * size:
            return "not alphabetic"
        if "{" in text or "}" in text:
            return "braces"
        if any(text.count(sign) > rules.max_comparisons for sign in _COMPARED):
            return "comparison signs"
        if any(words in lower for words in _SPOKEN):
            return "boilerplate"
        if sum(map(str.isupper, signs)) > rules.max_capitals * size:
            return "capitals"
        if lower in _LABELS:
            return "label"
        if max(Counter(signs).values()) > rules.max_one_character * size:
            return "one character"
        return None


def cleaned(text: str) -> str:
    """Addresses taken out, runs of a sign made one."""
    return _RUNS.sub(r"\1", _ADDRESS.sub("", text)).strip()


def is_latin(text: str) -> bool:
    """Whether more than half of a text's characters (spaces left out) are Latin letters."""
    signs = [sign for sign in text if not sign.isspace()]
    return 2 * sum(_latin(sign) for sign in signs) > len(signs)


@lru_cache(maxsize=4096)
def _latin(sign: str) -> bool:
    return sign.isalpha() and unicodedata.name(sign, "").startswith(("LATIN", "FULLWIDTH LATIN"))


@lru_cache(maxsize=4096)
def _alphabetic(sign: str) -> bool:
    """Letters, and the marks that many scripts write vowels with."""
    return unicodedata.category(sign)[0] in "LM"
