"""Answers taken apart into claims, and claims put as yes/no questions (the divide step of RLAIF-V, arXiv 2405.17220).

A question keeps the words and any negation of its claim, so that *yes* always means that the claim holds. The rules
here serve enumerating captions and simple English sentences; a language model does it for everything else
(:mod:`vitrail.loops.splitters`), and its two lists are read here.
"""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_LISTED = re.compile(r",\s+and\s+|,\s+|\s+and\s+")
_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s*(.+?)\s*$")
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|wears?|holds?|shows?|stands?|sits?|looks?|appears?|contains?)\b",
    re.IGNORECASE,
)
FACTS, QUESTIONS = "### Facts", "### Questions"


def split_claims(answer: str) -> list[str]:
    """The claims of an answer by rule: its sentences; of those without a verb (captions) every listed thing."""
    found = []
    for sentence in _SENTENCE.split(answer.strip()):
        text = sentence.strip().rstrip(".!?。！？").strip()
        parts = [text] if _VERB.search(text) else _LISTED.split(text)
        found += [part.strip() for part in parts if part.strip()]
    return found


def claim_to_question(claim: str) -> str:
    """A claim as a yes/no question, by rule: a thing is asked whether it is there, a sentence whether it is true."""
    text = claim.strip().rstrip(".!?").strip()
    if not text:
        raise ValueError("the claim is empty; leave it out")
    lowered = text if len(text) > 1 and text[1].isupper() else text[0].lower() + text[1:]
    if _VERB.search(text):
        return f"Is it true that {lowered}?"
    background = re.fullmatch(r"on (an? .+)", lowered)
    return f"Is there {background[1] if background else lowered} in the picture?"


def read_list(text: str, header: str | None = None) -> list[str]:
    """The items of a list that a model wrote, one a line behind ``-``, behind ``header`` where that is there."""
    if header is not None and header.lower() in text.lower():
        text = text[text.lower().index(header.lower()) + len(header) :]
    lines = [_ITEM.match(line) for line in text.splitlines()]
    return [line[1] for line in lines if line]


__all__ = ["FACTS", "QUESTIONS", "claim_to_question", "read_list", "split_claims"]
