"""What a site's robots.txt allows (RFC 9309): read once an origin, before anything else of it.

A file that is not there allows everything; one that cannot be had (5xx, no answer) forbids everything, as the standard
has it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from vitrail.curation.operations.operation import needs
from vitrail.data.fetching.failures import Failed, Refused

MAX_BYTES = 512 * 1024
"""The standard asks for at least 500 KiB to be read; more is not."""
UNREADABLE = "robots.txt cannot be had"
_OF_THE_HOST = ("address not public", "no such host", "no connection", "certificate", "port", "scheme")
"""Reasons that have nothing to do with robots.txt, though it was what was asked for first."""


class Robots:
    """``read`` gives the text of an address, or None where nothing is there. Safe between threads."""

    def __init__(self, read: Callable[[str], str | None], agent: str) -> None:
        try:
            from protego import Protego
        except ImportError:
            raise needs("protego", "fetch_images") from None
        self._parse, self._read, self._agent = Protego.parse, read, agent
        self._lock = threading.Lock()
        self._known: dict[str, _Rules] = {}

    def require(self, origin: str, address: str) -> None:
        """:class:`Refused` for an address that may not be fetched."""
        rules = self._of(origin)
        if rules.parsed is None:
            raise Refused(rules.reason, rules.detail)
        if not rules.parsed.can_fetch(address, self._agent):
            raise Refused("robots.txt", f"it forbids this address to {self._agent}")

    def delay(self, origin: str) -> float:
        """Seconds between requests that the site asks for; 0 where it does not."""
        parsed = self._of(origin).parsed
        delay = parsed.crawl_delay(self._agent) if parsed is not None else None
        return float(delay) if delay is not None and delay > 0 else 0.0

    def _of(self, origin: str) -> _Rules:
        with self._lock:
            rules = self._known.setdefault(origin, _Rules())
        with rules.lock:
            if not rules.asked:
                rules.asked = True
                try:
                    rules.parsed = self._parse(self._read(f"{origin}/robots.txt") or "")
                except (Failed, Refused) as error:
                    rules.reason = error.reason if error.reason in _OF_THE_HOST else UNREADABLE
                    rules.detail = str(error)
        return rules


class _Rules:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.parsed: Any = None
        self.asked, self.reason, self.detail = False, "", ""
