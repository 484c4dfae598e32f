"""Which option an answer in words names, or that it names none: one reader for all benchmarks.

``words`` is the library's own, in the order of ChEF (Shi et al., arXiv 2311.02692): a single letter, a letter in
brackets or with punctuation, an option's exact text, the only option that it contains, the only letter that
stands alone. The others are those of
benchmarks' own scripts, with their quirks, so that an official score can be had from the same answers:

- ``first-character`` (SEED-Bench, MIBench): the first character, whatever follows. "The answer is B" is unreadable.
- ``first-letter-word`` (MMR, arXiv 2406.10638): up to the first full stop, the first of A, B, C, D (in this order,
  not in the answer's) that stands there as a word. "A dog, so C" says A.
- ``last-letter`` (Q-Bench's harnesses): the last of ``(A)``, else of ``A`` and a space, else of ``A.``.
- ``first-capital`` (Video-MME, arXiv 2405.21075): the first capital A to D anywhere; beside it ``alone``, stricter.
- ``contained-text`` (MIBench's public alternative): the right option's text without its final full stop occurs in the
  answer. An answer that lists all options is right, so this reading needs to know which one is.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence

LETTERS = string.ascii_uppercase

_LETTER = re.compile(r"^\W*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])(?:[.):,]|$))", re.ASCII)
_ALONE = re.compile(r"(?<![\w'’])(?!A [a-z]|I )([A-Z])(?![\w'’])")
"""A capital that stands alone and is no article ("A dog") or pronoun ("I see")."""
_ARTICLE = re.compile(r"^(?:a|an|the)\s+")


def read_option(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The option that ``text`` names, or None if it names none or several."""
    said = plain(text)
    plains = [plain(option) for option in options]
    if said in plains:
        return plains.index(said)
    if letters and (found := _LETTER.match(text.strip())):
        place = LETTERS.index(next(filter(None, found.groups())).upper())
        return place if place < len(options) else None
    held = [index for index, option in enumerate(plains) if holds(said, option)]
    # An option inside another one that is named too ("cat" in "black cat") is not meant.
    meant = [i for i in held if not any(i != j and holds(plains[j], plains[i]) for j in held)]
    if meant or not letters:
        return meant[0] if len(meant) == 1 else None
    named = {LETTERS.index(letter) for letter in _ALONE.findall(text) if LETTERS.index(letter) < len(options)}
    return named.pop() if len(named) == 1 else None


def first_character(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The option whose letter, of either case, the answer begins with."""
    return _place(text.strip()[:1], options)


def first_letter_word(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The first letter of the alphabet that stands as a word of its own before the first full stop."""
    words = text.split(".", 1)[0].replace(",", " ").split(" ")
    return next((index for index, letter in enumerate(LETTERS[: len(options)]) if letter in words), None)


def contained_text(text: str, options: Sequence[str], answer: int) -> int | None:
    """The right option, number ``answer``, if its text stands in the answer; else the only other one that does."""
    held = [index for index, option in enumerate(options) if option.rstrip(".") in text]
    return answer if answer in held else held[0] if len(held) == 1 else None


def last_letter(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The last letter in the form ``(A)``; where there is none ``A`` and a space, then ``A.``, then an option's text.

    Texts are looked for in answers of more than five words. Q-Bench's harnesses guess where this finds nothing.
    """
    said = f" {text.strip(',.!?;: ' + chr(39))} "
    for form in ("({})", "{} ", "{}."):
        found = [
            (said.rfind(form.format(letter)), place) for place, letter in enumerate(LETTERS[: len(options)])
        ]
        if (last := max(found, default=(-1, 0)))[0] >= 0:
            return last[1]
    if len(said.split()) > 5:
        found = [(said.lower().rfind(option.lower()), place) for place, option in enumerate(options)]
        if (last := max(found, default=(-1, 0)))[0] >= 0:
            return last[1]
    return None


_VIDEO_PHRASES = (
    "The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is",
    "The correct option is", "Best answer:", "Best option:", "Answer:", "Option:",
)  # fmt: skip


def first_capital(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The first capital of the options' letters anywhere, set phrases taken out. "Based on it, C" says B."""
    said = text.strip()
    for phrase in _VIDEO_PHRASES:
        said = said.replace(phrase, "")
    known = LETTERS[: len(options)]
    return next((known.index(one) for one in said if one in known), None)


def alone(text: str, options: Sequence[str], letters: bool = True) -> int | None:
    """The only letter that stands alone, with punctuation or without; None for several."""
    found = {LETTERS.index(one) for one in _ALONE.findall(text)}
    found = {place for place in found if place < len(options)}
    return found.pop() if len(found) == 1 else None


Reading = Callable[[str, Sequence[str], bool], "int | None"]
READINGS: dict[str, Reading] = {
    "words": read_option,
    "first-character": first_character,
    "first-letter-word": first_letter_word,
    "last-letter": last_letter,
    "first-capital": first_capital,
    "alone": alone,
}


def _place(letter: str, options: Sequence[str]) -> int | None:
    place = LETTERS.find(letter.upper()) if letter.isascii() and letter.isalpha() else -1
    return place if 0 <= place < len(options) else None


def plain(text: str) -> str:
    """Lower case, one space between words, no punctuation or article at the ends."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _ARTICLE.sub("", text.strip(string.punctuation + string.whitespace + "“”‘’„«»…"))


def holds(text: str, words: str) -> bool:
    """Whether ``words`` stand in ``text`` as whole words."""
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
