"""Questions and answers that a language model wrote as a numbered list, from its text to pairs.

The layout is LLM2LLM's (arXiv 2403.15042)::

    1. Question: …
    Answer: …
    2. Question: …

A marker in front of a final answer (``####`` in GSM8K) may be demanded.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

_BEGIN = re.compile(r"^[ \t*#]*\d{1,3}[.)][ \t*]*Question[ \t*]*:[ \t*]*", re.MULTILINE | re.IGNORECASE)
_ANSWER = re.compile(r"^[ \t*]*Answer[ \t*]*:[ \t*]*", re.MULTILINE | re.IGNORECASE)


@dataclass
class Written:
    """What was read: pairs of question and answer, and how many items were left out for what reason."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count one."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


def parse_numbered_qa(
    text: str, *, finished: bool = True, marker: str | None = None, ascii_only: bool = False
) -> Written:
    """The pairs of a numbered list; never an exception.

    Left out and counted are items without exactly one ``Answer:`` (or, with a ``marker``, without exactly one of it),
    with an empty half, that begin with punctuation (``ascii_only``, as the authors do: or with any other script), and
    the last one of a text that is not ``finished``.
    """
    found = Written()
    for item in _items(text, finished, found):
        reason, pair = _read(item, marker, ascii_only)
        if pair is None:
            found.reject(reason)
        else:
            found.pairs.append(pair)
    return found


def parse_numbered_questions(text: str, *, finished: bool = True, ascii_only: bool = False) -> Written:
    """The questions of a numbered list whose answers were not asked for, as pairs with empty answers; never an
    exception. An answer that stands there all the same is left out; else as :func:`parse_numbered_qa`.
    """
    found = Written()
    for item in _items(text, finished, found):
        question = _ANSWER.split(item)[0].strip()
        reason = _begins(question, ascii_only) if question else "empty"
        if reason:
            found.reject(reason)
        else:
            found.pairs.append((question, ""))
    return found


def _items(text: str, finished: bool, found: Written) -> list[str]:
    """The items of a list; none, and one that was cut off, are counted in ``found``."""
    begins = list(_BEGIN.finditer(text))
    if not begins:
        found.reject("no numbered question")
        return []
    ends = [*(one.start() for one in begins[1:]), len(text)]
    items = [text[begin.end() : end] for begin, end in zip(begins, ends, strict=True)]
    if not finished:
        found.reject("cut off")
        items.pop()
    return items


def _read(item: str, marker: str | None, ascii_only: bool) -> tuple[str, tuple[str, str] | None]:
    answers = list(_ANSWER.finditer(item))
    if len(answers) != 1:
        return "no single answer", None
    question, answer = item[: answers[0].start()].strip(), item[answers[0].end() :].strip()
    if not question or not answer:
        return "empty", None
    if marker is not None and item.count(marker) != 1:
        return f"no single {marker}", None
    reason = _begins(question, ascii_only)
    return (reason, None) if reason else ("", (question, answer))


def _begins(question: str, ascii_only: bool) -> str:
    """Why the beginning of a question is refused; empty where it is not."""
    first = question.lstrip("¿¡")[:1] or "?"
    refused = unicodedata.category(first)[0] in "PSC" or (ascii_only and not first.isascii())
    return "begins with no word" if refused else ""


__all__ = ["Written", "parse_numbered_qa", "parse_numbered_questions"]
