"""Orders on their way through the server: who waits for what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from vitrail.serving.moderations import Judged, JudgeOrder
from vitrail.serving.orders import Begun, Delta, Ended, Event, Order


class Ticket:
    """An order on its way: iterate over it for its events. :meth:`cancel` frees its place.

    ``ended`` is called with it, in the worker's thread, when nothing more happens to it: by then it knows its
    ``seconds``, those until the ``first`` piece, and the tokens of its ``prompts`` and of what was ``made``.
    """

    def __init__(
        self,
        order: Order | JudgeOrder,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[Ticket], None] = lambda ticket: None,
    ) -> None:
        self.order, self.cancelled = order, threading.Event()
        self._loop, self._events = loop, asyncio.Queue[Event | Judged | BaseException | None]()
        self._ended, self._came = ended, time.monotonic()
        self.begun, self.seconds, self.prompts, self.made = self._came, 0.0, 0, 0
        self.first: float | None = None

    def tell(self, event: Event | Judged | BaseException | None) -> None:
        """From the worker: an event, why it failed, or None at the end."""
        if isinstance(event, Begun):
            self.prompts = event.tokens
        elif isinstance(event, Delta | Ended):
            self.first = self.first or time.monotonic() - self._came
            self.made += event.completion.made if isinstance(event, Ended) else 0
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def end(self) -> None:
        """From the worker: nothing more happens to it."""
        self.seconds = time.monotonic() - self.begun
        self._ended(self)
        self.tell(None)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.cancelled.set()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
