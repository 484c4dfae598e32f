"""Why nothing was fetched: what is never asked for, and what was asked for in vain."""

from __future__ import annotations


class Refused(Exception):
    """What is not fetched, whatever is there; ``reason`` is short, for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class Failed(Exception):
    """Nothing was got. ``passing``: it may be there later; ``wait``: seconds that the server asked for, or None."""

    def __init__(
        self, reason: str, detail: str = "", passing: bool = False, wait: float | None = None
    ) -> None:
        self.reason, self.detail, self.passing, self.wait = reason, detail, passing, wait
        super().__init__(f"{reason}: {detail}")
