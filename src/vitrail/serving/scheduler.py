"""Who makes the answers of a server's orders: many at once (:class:`Together`) or one by one (:class:`InTurn`).

Both are asked by the worker's thread alone: :meth:`begin` takes an order in, :meth:`step` goes on a little with all.
Between two steps answers that are whole leave, those whose clients hung up leave, and new ones come in where there is
room: rows, and tokens that their cache may come to hold. Methods of inference that rewrite a prompt do so before it
joins the others. An order with a method that holds in the decoder waits until those under way are whole, and is
answered by itself: what holds in the model then holds for nobody else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from vitrail.inference.completion import Following
from vitrail.inference.continuous_batching import Row, Running
from vitrail.serving.errors import Refused, unexpected
from vitrail.serving.orders import Asked, Ended, Order, begin, carry_out, tell_methods

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle
    from vitrail.serving.tickets import Ticket

LOGGER = logging.getLogger("vitrail.serving")
PROMPTS = 8192
"""Tokens of prompts, padding included, that are forwarded at once; one prompt alone may have more."""


class Scheduler(Protocol):
    """What the worker asks. ``tickets`` are those that were begun and have not ended; ``room``: for one more.
    ``takes``: whether this one may begin now.
    """

    @property
    def tickets(self) -> Sequence[Ticket]: ...  # noqa: D102
    @property
    def room(self) -> bool: ...  # noqa: D102
    def takes(self, ticket: Ticket) -> bool: ...  # noqa: D102
    def begin(self, ticket: Ticket) -> None: ...  # noqa: D102
    def step(self) -> None: ...  # noqa: D102


class InTurn:
    """One order after the other, and of each one answer after the other."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.tickets: list[Ticket] = []

    @property
    def room(self) -> bool:
        """Whether no order is under way."""
        return not self.tickets

    def takes(self, ticket: Ticket) -> bool:
        """Whether it may begin."""
        return self.room

    def begin(self, ticket: Ticket) -> None:
        """It is the next."""
        self.tickets.append(ticket)

    def step(self) -> None:
        """Answer it."""
        for ticket in self.tickets:
            if not ticket.cancelled.is_set():
                guarded(ticket, carry_out, self._bundle, ticket.order, ticket.tell, ticket.cancelled)
            ticket.end()
        self.tickets.clear()


@dataclass(eq=False)
class _Going:
    """An order's answers: how many are missing."""

    ticket: Ticket
    missing: int


class Together:
    """Up to ``rows`` answers at once, whose cache may come to hold ``tokens`` (None: any number; one answer alone may
    have more).
    """

    def __init__(self, bundle: Bundle, rows: int, tokens: int | None = None) -> None:
        self._bundle, self._rows, self._tokens = bundle, rows, tokens
        self._running = Running(bundle)
        self._turn = InTurn(bundle)
        self._line: deque[list[Row]] = deque()
        self._going: dict[Row, tuple[_Going, Asked]] = {}
        self._orders: list[_Going] = []

    @property
    def tickets(self) -> list[Ticket]:
        """Of the orders that are under way."""
        return [*(one.ticket for one in self._orders), *self._turn.tickets]

    @property
    def room(self) -> bool:
        """Whether there are fewer answers than rows, those in line included, and none is answered by itself."""
        return self._turn.room and len(self._running.rows) + sum(map(len, self._line)) < self._rows

    def takes(self, ticket: Ticket) -> bool:
        """Whether it may begin: where it is to be answered by itself, when nothing else is under way."""
        if _in_turn(ticket) and not ticket.cancelled.is_set():
            return not self.tickets
        return self.room

    def begin(self, ticket: Ticket) -> None:
        """Encode its prompts, as its methods rewrite them; its answers stand in line."""
        going, groups = _Going(ticket, 0), list[list[Row]]()
        if ticket.cancelled.is_set():
            ticket.end()
            return
        if _in_turn(ticket):
            self._turn.begin(ticket)
            return
        if not guarded(ticket, self._ask, going, groups):
            ticket.end()
            return
        self._orders.append(going)
        self._line += groups
        if not going.missing:
            self._end(going)

    def _ask(self, going: _Going, groups: list[list[Row]]) -> None:
        order, tell = going.ticket.order, going.ticket.tell
        assert isinstance(order, Order)
        with order.methods.using(self._bundle) as asked:
            found = begin(asked, order, tell)
            if found:
                tell_methods(asked, found[0][0], tell)
        made = [[(self._row(one, order, tell), one) for one in some] for some in found]
        for some in made:
            groups.append([row for row, _ in some])
            self._going |= {row: (going, one) for row, one in some}
            going.missing += len(some)

    def _row(self, one: Asked, order: Order, emit: Callable[..., None]) -> Row:
        following = Following(
            self._bundle, stop=order.stop, strip=one.strip, top=order.top_logprobs, emit=one.told(emit)
        )
        return Row.of(self._bundle, one.prompt, one.settings, following)

    def step(self) -> None:
        """Let in whom there is room for; then one more token for each answer. Or answer the one whose turn it is."""
        self._turn.step()
        for going in [one for one in self._orders if one.ticket.cancelled.is_set()]:
            self._leave(going)
        ended: list[Row] = []
        while groups := self._next():
            ended += self._admitted(groups)
        try:
            ended += self._running.step()
        except Exception as error:
            self._fail(self._running.rows, error)
        for row in ended:
            self._whole(row)

    def _next(self) -> list[list[Row]]:
        """Rows to be let in now, by prompt, in line's order: at most what fits into one forward."""
        chosen: list[list[Row]] = []
        while self._line:
            group = self._line[0]
            width = max(one[0].prompt.length for one in [*chosen, group])
            if chosen and width * (len(chosen) + 1) > PROMPTS:
                break
            fitting = self._fitting(group, [row for some in chosen for row in some])
            if not fitting:
                break
            chosen.append(group[:fitting])
            del group[:fitting]
            if group:
                break
            self._line.popleft()
        return chosen

    def _fitting(self, group: Sequence[Row], chosen: Sequence[Row]) -> int:
        """How many of a prompt's rows have room beside those that run and those chosen."""
        here = len(self._running.rows) + len(chosen)
        fitting = min(len(group), self._rows - here)
        if self._tokens is None:
            return fitting
        while fitting > (0 if here else 1):
            if self._running.tokens_with([*chosen, *group[:fitting]]) <= self._tokens:
                break
            fitting -= 1
        return fitting

    def _admitted(self, groups: list[list[Row]]) -> list[Row]:
        """Let rows in; those that are over with their first token. A prompt that fails fails by itself."""
        try:
            return self._running.admit(groups)
        except Exception as error:
            if not self._running.sound:
                self._fail([*self._running.rows, *(row for group in groups for row in group)], error)
                return []
            if len(groups) == 1:
                self._fail(groups[0], error)
                return []
        return [row for group in groups for row in self._admitted([group])]

    def _whole(self, row: Row) -> None:
        if row not in self._going:  # its order has failed
            return
        going, asked = self._going.pop(row)
        going.missing -= 1
        going.ticket.tell(Ended(asked.index, row.following.completion()))
        if not going.missing:
            self._end(going)

    def _fail(self, rows: Sequence[Row], error: Exception) -> None:
        """The orders of these rows end with an error; what the model was about is begun anew if it is in doubt."""
        told = refusal(error)
        found = {self._going[row][0] for row in rows if row in self._going}
        if not self._running.sound:
            self._running = Running(self._bundle)
        for going in found:
            going.ticket.tell(told)
            self._leave(going)

    def _leave(self, going: _Going) -> None:
        """Take an order's answers out, wherever they are."""
        gone = {row for row, (one, _) in self._going.items() if one is going}
        for row in [row for row in self._running.rows if row in gone]:
            self._running.drop(row)
        for group in self._line:
            group[:] = [row for row in group if row not in gone]
        self._line = deque(group for group in self._line if group)
        for row in gone:
            del self._going[row]
        self._end(going)

    def _end(self, going: _Going) -> None:
        self._orders.remove(going)
        going.ticket.end()


def _in_turn(ticket: Ticket) -> bool:
    """Whether something holds in the decoder while it is answered."""
    return isinstance(ticket.order, Order) and ticket.order.methods.in_turn


def guarded(ticket: Ticket, work: Callable[..., None], *arguments: Any) -> bool:
    """Do the work; whatever it raises is told to the ticket. Whether it went well."""
    try:
        work(*arguments)
    except Exception as error:
        ticket.tell(refusal(error))
        return False
    return True


def refusal(error: Exception) -> Refused:
    """What a client is told of an error; one of ours is logged, and shows nothing of itself."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        LOGGER.warning("out of memory on a request; it was refused")
        message = (
            "the server's memory does not hold this request; send fewer or smaller pictures, or less text"
        )
        return Refused(503, message, code="out_of_memory")
    LOGGER.error("a request failed", exc_info=error)
    return unexpected()
