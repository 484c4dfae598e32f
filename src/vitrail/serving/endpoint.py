"""What every served model answers: whether it is there, what it is called, what it has done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from vitrail.serving.errors import Refused, printable
from vitrail.serving.fetching import PictureFetcher, is_address
from vitrail.serving.metrics import Metrics
from vitrail.serving.settings import Serving

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

T = TypeVar("T")


class Endpoint:
    """The routes that all models have."""

    def __init__(self, bundle: Bundle, settings: Serving) -> None:
        self.bundle, self.settings, self.begun = bundle, settings, int(time.time())
        self.metrics = Metrics(settings.name, lambda: self.running, lambda: self.waiting)
        self._fetcher = (
            PictureFetcher(settings.fetching, settings.limits.body, self.metrics.fetched)
            if settings.fetching is not None
            else None
        )

    running = waiting = 0
    """Requests that are being answered, and those with the ones in line."""
    notice = ""
    """What whoever starts the server should know."""

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """What lives as long as the server."""
        yield

    def seconds_to_wait(self) -> int:
        """About how long a new request would wait, for ``Retry-After``."""
        return 1

    async def health(self) -> Response:
        """Whether it answers, and how many wait."""
        return JSONResponse({"status": "ok", "model": self.settings.name, "waiting": self.waiting})

    async def told(self) -> Response:
        """``GET /metrics``, as Prometheus reads it."""
        return Response(self.metrics.text(), media_type=self.metrics.media_type)

    async def models(self) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [self._about()]})

    async def model(self, name: str) -> Response:
        """The model, by its name."""
        self.require_name(name)
        return JSONResponse(self._about())

    def _about(self) -> dict[str, Any]:
        told = {"id": self.settings.name, "object": "model", "created": self.begun, "owned_by": "vitrail"}
        return {**told, "image_addresses": self._fetcher is not None}

    async def fetched(self, request: Request, shown: Mapping[str, str]) -> Mapping[str, bytes] | None:
        """What is at the addresses among the pictures shown (where → URL); None if this server fetches nothing."""
        if self._fetcher is None:
            return None
        wanted = {where: url for where, url in shown.items() if is_address(url)}
        return await unless_gone(request, self._fetcher.fetched(wanted)) if wanted else {}

    def require_name(self, name: str) -> None:
        """:class:`Refused` (404) for another model's name."""
        if name != self.settings.name:
            message = f"model: there is no model {name[:200]!r} here; ask for {self.settings.name!r}"
            raise Refused(404, printable(message), param="model", code="model_not_found")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What ``work`` gives; :class:`Refused` (499) if the client hangs up before."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(499, "the client hung up")
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
