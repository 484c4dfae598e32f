"""The one thread that owns the model: orders wait in line, and what happens to them is told as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import torch

from vitrail.serving.errors import Refused, unexpected
from vitrail.serving.moderations import Judged, JudgeOrder
from vitrail.serving.orders import Event, Order, carry_out

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

LOGGER = logging.getLogger("vitrail.serving")
LONGEST_WAIT = 60
FIRST_GUESS = 1.0
"""Seconds an order is thought to take before any was seen."""


class Ticket:
    """An order on its way: iterate over it for its events. :meth:`cancel` frees its place."""

    def __init__(self, order: Order | JudgeOrder, loop: asyncio.AbstractEventLoop) -> None:
        self.order, self.cancelled = order, threading.Event()
        self._loop, self._events = loop, asyncio.Queue[Event | Judged | BaseException | None]()

    def tell(self, event: Event | Judged | BaseException | None) -> None:
        """From the worker: an event, why it failed, or None at the end."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.cancelled.set()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event


class Worker:
    """Carries out orders one after the other, in the order of their coming; those cancelled are left out."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._running: Ticket | None = None
        self._closed = False
        self._seconds = FIRST_GUESS
        context = contextvars.copy_context()  # what holds here holds for the answers
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="vitrail-serve", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Finish what is under way, refuse what waits, and end."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for ticket in waiting:
            ticket.tell(Refused(503, "the server is stopping; ask again later", code="stopping"))
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, order: Order | JudgeOrder) -> Ticket:
        """Put an order in line. To be called in an event loop, which then gets the events."""
        ticket = Ticket(order, asyncio.get_running_loop())
        with self._changed:
            if self._closed:
                raise Refused(503, "the server is stopping; ask again later", code="stopping")
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    @property
    def waiting(self) -> int:
        """Orders in line that somebody waits for, with the one under way."""
        with self._changed:
            here = [*self._waiting, *([self._running] if self._running else [])]
        return sum(not ticket.cancelled.is_set() for ticket in here)

    def seconds_to_wait(self) -> int:
        """About how long a new order would wait, for ``Retry-After``."""
        return max(1, min(LONGEST_WAIT, math.ceil(self._seconds * self.waiting)))

    def _run(self) -> None:
        while (ticket := self._next()) is not None:
            self._carry_out(ticket)

    def _next(self) -> Ticket | None:
        with self._changed:
            self._running = None
            while not self._waiting and not self._closed:
                self._changed.wait()
            self._running = self._waiting.popleft() if self._waiting else None
            return self._running

    def _carry_out(self, ticket: Ticket) -> None:
        if ticket.cancelled.is_set():
            ticket.tell(None)
            return
        begun = time.monotonic()
        try:
            if isinstance(ticket.order, JudgeOrder):
                ticket.tell(ticket.order.judged())
            else:
                carry_out(self._bundle, ticket.order, ticket.tell, ticket.cancelled)
            ticket.tell(None)
        except Refused as refused:
            ticket.tell(refused)
        except (MemoryError, torch.OutOfMemoryError):
            LOGGER.warning("out of memory on a request; it was refused")
            message = (
                "the server's memory does not hold this request; send fewer or smaller pictures, or less text"
            )
            ticket.tell(Refused(503, message, code="out_of_memory"))
        except Exception:
            LOGGER.exception("a request failed")
            ticket.tell(unexpected())
        self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - begun)
