"""Who comes in: the key, the address asked, the size of the body, and how many requests are here at a time.

It stands in front of the application, so that what is refused is refused before a byte of its body is read into memory:
requests that are here times the largest body bound what the server holds of what was sent. What is fetched for a
request has as many bytes at most, and up to four pictures still on their way (:mod:`vitrail.serving.fetching`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from vitrail.serving.errors import Refused, printable
from vitrail.serving.page import FILES
from vitrail.serving.settings import Serving

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/health", *FILES)
"""Paths that need no key."""


class Gate:
    """ASGI around ``application``; ``seconds_to_wait`` is told to those who find no place.

    ``ended`` is called with path, status and seconds of every request. ``notice`` and
    ``has_page``: for whoever starts the server.
    """

    def __init__(
        self,
        application: Application,
        settings: Serving,
        seconds_to_wait: Callable[[], int],
        ended: Callable[[str, int, float], None] = lambda path, status, seconds: None,
    ) -> None:
        self._application, self._settings, self._seconds_to_wait = application, settings, seconds_to_wait
        self._ended = ended
        self.here, self.notice, self.has_page = 0, "", False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection's request (or the server's start and end)."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        begun, status = time.monotonic(), 499

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._let_in(scope, receive, noted)
        finally:
            self._ended(scope["path"], status, time.monotonic() - begun)

    async def _let_in(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._admit(scope, headers)
        except Refused as refused:
            await refuse(refused, send)
            return
        asks = scope["method"] == "POST"
        self.here += asks
        try:
            body = await self._whole(receive, headers) if asks else b""
            await self._application(scope, _once(body, receive), send)
        except Refused as refused:
            await refuse(refused, send)
        except _Gone:
            return
        finally:
            self.here -= asks

    def _admit(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        settings = self._settings
        host = re.sub(r":\d*$", "", headers.get("host", ""))
        if settings.hosts is not None and host.lower() not in settings.hosts:
            raise Refused(
                403, printable(f"this server is not {host!r}; ask it as {settings.hosts[0]}"), code="host"
            )
        if settings.key is not None and scope["path"] not in OPEN:
            given = headers.get("authorization", "").removeprefix("Bearer ").encode("latin-1")
            if not hmac.compare_digest(given, settings.key.encode()):
                raise Refused(
                    401, "send the server's key as 'Authorization: Bearer …'", code="invalid_api_key"
                )
        if scope["method"] != "POST":
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "the body must be JSON; send Content-Type: application/json")
        if self.here >= settings.limits.queue:
            seconds = self._seconds_to_wait()
            raise Refused(
                429,
                f"the server answers {settings.limits.queue} requests at a time; ask again in {seconds} s",
                code="queue_full",
                headers={"Retry-After": str(seconds)},
            )

    async def _whole(self, receive: Receive, headers: dict[str, str]) -> bytes:
        """The body, within its limits. :class:`Refused` for one too large or too slow."""
        limits = self._settings.limits
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > limits.body:
            raise _too_large(limits.body)
        body = bytearray()
        try:
            async with asyncio.timeout(limits.patience):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    body += message.get("body", b"")
                    if len(body) > limits.body:
                        raise _too_large(limits.body)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(
                408,
                f"the body did not arrive within {limits.patience:g} s; send it again",
                headers={"Connection": "close"},
            ) from None


class _Gone(Exception):
    """The client hung up before its request was whole."""


def _too_large(most: int) -> Refused:
    return Refused(
        413,
        f"the body has more than {most:,} bytes; send fewer or smaller pictures",
        code="body_too_large",
        headers={"Connection": "close"},
    )


def _once(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once; what comes behind it is that the client hung up."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return next_message


async def refuse(refused: Refused, send: Send) -> None:
    """Answer with the error."""
    body = json.dumps(refused.body(), ensure_ascii=False).encode()
    told = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
