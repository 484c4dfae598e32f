"""Corruptions of texts in five severities: of characters, of words, of the sentence.

What a severity changes is a share of the characters or words; marks such as ``{options}`` are not looked for, so
corrupt a question before it is put into a prompt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_Draws = np.random.Generator
SHARES = (0.02, 0.05, 0.1, 0.18, 0.3)
"""Of the characters; words are changed ten tenths as often, but one at least."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_ASIDES = (
    "Please look closely.",
    "This was asked before.",
    "The weather is fine today.",
    "Take your time.",
    "Other people found this hard.",
)


def corrupt_text(text: str, kind: str, severity: int, draws: _Draws) -> str:
    """A text corrupted by ``kind`` (of :data:`TEXTS`) at ``severity`` 1 to 5. ValueError for others."""
    if kind not in _KINDS or not 1 <= severity <= 5:
        raise ValueError(f"kind is {kind!r} and severity {severity}; use {', '.join(TEXTS)} and 1 to 5")
    return _KINDS[kind](text, severity - 1, draws)


def _places(text: str, share: float, draws: _Draws) -> list[int]:
    """Places of letters, drawn: a share of all, one at least."""
    letters = [place for place, sign in enumerate(text) if sign.isalpha()]
    count = min(len(letters), max(1, round(share * len(letters))))
    return sorted(int(place) for place in draws.choice(letters, count, replace=False)) if letters else []


def _swap_characters(text: str, s: int, draws: _Draws) -> str:
    signs = list(text)
    for place in _places(text, SHARES[s], draws):
        if place + 1 < len(signs) and signs[place + 1].isalpha():
            signs[place], signs[place + 1] = signs[place + 1], signs[place]
        elif place and signs[place - 1].isalpha():
            signs[place], signs[place - 1] = signs[place - 1], signs[place]
    return "".join(signs)


def _delete_characters(text: str, s: int, draws: _Draws) -> str:
    gone = set(_places(text, SHARES[s], draws))
    return "".join(sign for place, sign in enumerate(text) if place not in gone)


def _mistype(text: str, s: int, draws: _Draws) -> str:
    signs = list(text)
    for place in _places(text, SHARES[s], draws):
        sign = signs[place]
        row = next((row for row in _ROWS if sign.lower() in row), None)
        if row is not None:
            near = row.index(sign.lower()) + (1 if draws.random() < 0.5 else -1)
            other = row[min(max(near, 0), len(row) - 1)]
            signs[place] = other.upper() if sign.isupper() else other
    return "".join(signs)


def _drop_words(text: str, s: int, draws: _Draws) -> str:
    words = text.split(" ")
    if len(words) < 3:
        return text
    count = min(len(words) - 2, max(1, round(SHARES[s] * len(words))))
    gone = set(draws.choice(len(words), count, replace=False).tolist())
    return " ".join(word for place, word in enumerate(words) if place not in gone)


def _swap_words(text: str, s: int, draws: _Draws) -> str:
    words = text.split(" ")
    for _ in range(max(1, round(SHARES[s] * len(words)))):
        if len(words) > 1:
            place = int(draws.integers(len(words) - 1))
            words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def _add_asides(text: str, s: int, draws: _Draws) -> str:
    chosen = draws.permutation(len(_ASIDES))[: s + 1]
    return " ".join([*(_ASIDES[place] for place in sorted(chosen.tolist())), text])


_KINDS: dict[str, Callable[[str, int, _Draws], str]] = {
    "swap_characters": _swap_characters,
    "delete_characters": _delete_characters,
    "mistype": _mistype,
    "drop_words": _drop_words,
    "swap_words": _swap_words,
    "add_asides": _add_asides,
}
TEXTS: tuple[str, ...] = tuple(_KINDS)
"""The kinds: three of characters, two of words, one of the sentence."""
