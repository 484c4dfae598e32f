"""Addresses of people and machines, and numbers of phones, cards and passports, replaced by placeholders.

mOSCAR (arXiv 2406.08707) masks these kinds by regular expressions without printing them; these are ours. A number
counts as a card's when its check digit is right (Luhn), and as an IP address when it is one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Literal

from vitrail.curation.operations.operation import Operation, OperationConfig, Outcome, kept
from vitrail.data.records import Document, Text

Kind = Literal["email", "ip", "card", "passport", "phone"]

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)"
)
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_PASSPORT = re.compile(
    r"(?i:\b(?:passport|pasaporte|passeport|reisepass(?:nummer)?|passaporto)\b\W{0,3}(?:(?:no|nr|number|n°|num)\b\W{0,3})?)"
    r"([A-Z0-9]{6,9})\b"
)
_PHONE = re.compile(
    r"(?<![\w.+(-])(?:"
    r"(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?|\(\d{1,4}\)[ .-]?)\d{2,4}(?:[ .-]\d{2,4}){1,4}"
    r"|\d{2,4}(?:[ .-]\d{2,4}){2,4}"
    r"|\+\d{9,14}"
    r")(?![\w-]|\.\d)"
)
_DATES = re.compile(r"\d{4}[ .-]\d{1,2}[ .-]\d{1,2}|\d{1,2}[ .-]\d{1,2}[ .-]\d{4}")


class PersonalData(Operation):
    """Each find becomes ``placeholder`` with its kind in it, as ``<EMAIL>``."""

    class Config(OperationConfig):
        """``kinds`` to mask; ``placeholder``: a pattern with ``{kind}``."""

        kinds: tuple[Kind, ...] = ("email", "ip", "card", "passport", "phone")
        placeholder: str = "<{kind}>"

    config: Config

    def __call__(self, document: Document) -> Outcome:
        """The document, masked; ``meta.masked`` counts the finds by kind."""
        found: dict[str, int] = {}
        content = tuple(
            Text(text=self.masked(part.text, found)) if isinstance(part, Text) else part
            for part in document.content
        )
        if not found:
            return kept(document)
        meta = {**document.meta, "masked": found}
        return Outcome(document.model_copy(update={"content": content, "meta": meta}), changed=True)

    def masked(self, text: str, found: dict[str, int] | None = None) -> str:
        """A text without the kinds asked for; finds are counted in ``found``."""
        for kind in self.config.kinds:
            mask = self.config.placeholder.replace("{kind}", kind.upper())
            text = _FINDERS[kind](text, mask, found if found is not None else {})
        return text


def _finder(kind: str, pattern: re.Pattern[str], right: Callable[[str], bool]) -> Callable[..., str]:
    def replace(text: str, mask: str, found: dict[str, int]) -> str:
        def one(match: re.Match[str]) -> str:
            if not right(match[match.lastindex or 0]):
                return match[0]
            found[kind] = found.get(kind, 0) + 1
            return match[0][: match.start(match.lastindex or 0) - match.start()] + mask

        return pattern.sub(one, text)

    return replace


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) > 3


def passes_luhn(text: str) -> bool:
    """Whether the digits of a number have the check digit that cards have."""
    digits = [int(sign) for sign in reversed(text) if sign.isdigit()]
    doubled = [d if place % 2 == 0 else d * 2 - 9 * (d > 4) for place, d in enumerate(digits)]
    return sum(doubled) % 10 == 0 and any(digits)


def _is_phone(text: str) -> bool:
    digits = sum(sign.isdigit() for sign in text)
    return 8 <= digits <= 15 and not _DATES.fullmatch(text)


_FINDERS: dict[str, Callable[..., str]] = {
    "email": _finder("email", _EMAIL, lambda text: True),
    "ip": _finder("ip", _IP, _is_ip),
    "card": _finder("card", _CARD, passes_luhn),
    "passport": _finder("passport", _PASSPORT, lambda text: any(sign.isdigit() for sign in text)),
    "phone": _finder("phone", _PHONE, _is_phone),
}
