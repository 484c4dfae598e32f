"""What is refused, and how a client is told: OpenAI's form of an error, never a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refused(Exception):
    """A request that is not answered: HTTP ``status``, a sentence with the remedy, the field, a code for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        kind = KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told}


def unexpected() -> Refused:
    """What a client is told of a fault of ours; the log has the rest."""
    return Refused(
        500,
        "the server failed on this request; its log says why. Other requests are not affected",
        code="internal",
    )


def printable(text: str) -> str:
    """The text in valid Unicode: halves of surrogate pairs, which a request may hold, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
