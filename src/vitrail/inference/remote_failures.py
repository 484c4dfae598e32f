"""What an address's failure means: try again, leave this one chat out, or stop, since every chat would fail alike.

Statuses and the error bodies are those of OpenAI's chat completions, as servers of one's own and providers send them.
"""

from __future__ import annotations

import http.client
import json
import math
import urllib.error
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Status codes after which the same request may succeed."""
OF_THE_ACCOUNT = 429
"""The one of them that speaks of all requests together, not of one."""
STOPS = (401, 402, 403, 404, 405, 407, 410)
"""Status codes that speak of key, account, address or model; any other 4xx is about the one request."""
STOPPING = (
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
)
"""Codes in an error's body that say the same under whatever status."""
OF_A_CHAT = ("messages", "max_tokens")
"""Fields of a request that can be wrong for one chat and right for the next; the others are the same for all."""
BROKEN = (OSError, http.client.HTTPException)
"""What a connection that fails or breaks raises (``URLError``, ``TimeoutError`` and ``ConnectionError`` among it)."""


class AddressDown(ValueError):
    """The address answers nobody, or no chat of many in a row. What was answered is kept; go on later."""


class Refused(Exception):
    """The address refuses the one chat, with a status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class TryAgain(Exception):
    """The same request may succeed, after ``wait`` seconds where the address says so; ``status`` of HTTP, if any."""

    def __init__(self, why: str, wait: float | None = None, status: int | None = None) -> None:
        super().__init__(why)
        self.wait, self.status = wait, status


class NoAnswer(Exception):
    """A chat that got none after all tries, while the address answers; the last ``status`` of HTTP, if any."""

    def __init__(self, why: str, status: int | None) -> None:
        super().__init__(why)
        self.status = status


def failure(name: str, error: urllib.error.HTTPError, body: Mapping[str, Any]) -> Exception:
    """What the status and the body of an error mean: :class:`TryAgain`, :class:`Refused`, or ValueError to stop.

    ``name`` is who was asked, ``body`` the request.
    """
    try:
        said = error.read().decode("utf-8", "replace")
    except BROKEN:
        said = "the error's text broke off"
    told = _told(said)
    message = " ".join(str(told.get("message") or said).split())[:300]
    code, field = told.get("code"), str(told.get("param") or "")
    about_the_chat = field.startswith("messages")
    if code in STOPPING and not about_the_chat:
        pass
    elif error.code in RETRIED:
        return TryAgain(
            f"HTTP {error.code}: {message}", _seconds(error.headers.get("Retry-After")), error.code
        )
    elif 400 <= error.code < 500 and error.code not in STOPS and (field not in body or field in OF_A_CHAT):
        return Refused(error.code, message)
    return ValueError(f"{name} refused a request with HTTP {error.code}: {message}")


def broken(error: BaseException) -> TryAgain:
    """A connection that failed, as a reason to try again."""
    return TryAgain(str(getattr(error, "reason", error)) or type(error).__name__)


def _told(said: str) -> dict[str, Any]:
    """The error in an answer's body: OpenAI's form, the same fields at the top, or a text; else nothing."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    inner = found.get("error", found) if isinstance(found, dict) else None
    if isinstance(inner, str):
        return {"message": inner}
    return inner if isinstance(inner, dict) else {}


def _seconds(text: str | None) -> float | None:
    """The wait of ``Retry-After``: seconds, or a date. None where it is neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    except ValueError:
        pass  # a date, then
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)
