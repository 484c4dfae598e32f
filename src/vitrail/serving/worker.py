"""The one thread that owns the model: orders wait in line, and what happens to them is told as it happens."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from vitrail.inference.continuous_batching import why_alone
from vitrail.models.row_cache import tokens_that_fit
from vitrail.serving.errors import Refused, unexpected
from vitrail.serving.moderations import JudgeOrder
from vitrail.serving.orders import Order
from vitrail.serving.scheduler import InTurn, Scheduler, Together, guarded
from vitrail.serving.tickets import Ticket

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

LOGGER = logging.getLogger("vitrail.serving")
LONGEST_WAIT = 60
FIRST_GUESS = 1.0
"""Seconds an order is thought to take before any was seen."""


class Worker:
    """Carries out orders, begun in the order of their coming; those cancelled are left out.

    Up to ``together`` answers are made at once, where the model allows it; :attr:`alone` says why it does not.
    ``answered`` is told the tokens of each order's prompts and answers, and the seconds until the first piece.
    """

    def __init__(
        self,
        bundle: Bundle,
        together: int = 1,
        cache_tokens: int | None = None,
        answered: Callable[[int, int, float | None], None] = lambda prompts, made, first: None,
    ) -> None:
        self._answered = answered
        self.alone = why_alone(bundle) if together > 1 else "--together is 1"
        self._at_once = 1 if self.alone else together
        tokens = cache_tokens or tokens_that_fit(bundle.model)
        self._begun_anew: Callable[[], Scheduler] = (
            partial(InTurn, bundle) if self.alone else partial(Together, bundle, together, tokens)
        )
        self._scheduler: Scheduler = self._begun_anew()
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
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
        ticket = Ticket(order, asyncio.get_running_loop(), self._ended)
        with self._changed:
            if self._closed:
                raise Refused(503, "the server is stopping; ask again later", code="stopping")
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    @property
    def running(self) -> int:
        """Orders that are being answered, for somebody who waits for them."""
        return sum(not ticket.cancelled.is_set() for ticket in tuple(self._scheduler.tickets))

    @property
    def waiting(self) -> int:
        """Orders in line and under way that somebody waits for."""
        with self._changed:
            return self.running + sum(not ticket.cancelled.is_set() for ticket in self._waiting)

    def seconds_to_wait(self) -> int:
        """About how long a new order would wait, for ``Retry-After``."""
        return max(1, min(LONGEST_WAIT, math.ceil(self._seconds * self.waiting / self._at_once)))

    def _ended(self, ticket: Ticket) -> None:
        self._seconds = 0.8 * self._seconds + 0.2 * ticket.seconds
        self._answered(ticket.prompts, ticket.made, ticket.first)

    def _run(self) -> None:
        while (ticket := self._next()) is not False:
            try:
                self._go_on(ticket)
            except Exception:  # a fault of the scheduler's own: this thread must not end by it
                LOGGER.exception("the requests under way failed")
                lost = [*self._scheduler.tickets, *([ticket] if isinstance(ticket, Ticket) else [])]
                self._scheduler = self._begun_anew()
                for one in dict.fromkeys(lost):
                    one.tell(unexpected())
                    one.end()

    def _go_on(self, ticket: Ticket | bool | None) -> None:
        if not isinstance(ticket, Ticket):
            self._scheduler.step()
            return
        ticket.begun = time.monotonic()
        if isinstance(ticket.order, JudgeOrder):
            _judge(ticket, ticket.order)
        else:
            self._scheduler.begin(ticket)

    def _next(self) -> Ticket | bool | None:
        """An order to begin; None: go on with those begun; False: the end."""
        with self._changed:
            while True:
                if self._waiting and self._scheduler.takes(self._waiting[0]):
                    return self._waiting.popleft()
                if self._scheduler.tickets:
                    return None
                if self._closed:
                    return False
                self._changed.wait()


def _judge(ticket: Ticket, order: JudgeOrder) -> None:
    """Pictures are judged between two steps of the answers under way."""
    if not ticket.cancelled.is_set():
        guarded(ticket, lambda: ticket.tell(order.judged()))
    ticket.end()
