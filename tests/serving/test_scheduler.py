"""Who is let in and who leaves: rows, tokens, clients that hang up, faults."""

import threading
from dataclasses import replace

import pytest
import torch

from vitrail.data.records import Chat
from vitrail.inference.continuous_batching import Running
from vitrail.models.rules.standing import standing
from vitrail.serving import scheduler
from vitrail.serving.offers import Offers
from vitrail.serving.orders import Begun, Ended, Order, carry_out
from vitrail.serving.scheduler import InTurn, Together


class Told:
    """A ticket that remembers what it is told."""

    def __init__(self, order):
        self.order, self.cancelled, self.events, self.ended = order, threading.Event(), [], 0

    def tell(self, event):
        self.events.append(event)

    def end(self):
        self.ended += 1

    @property
    def answers(self):
        return {one.index: one.completion for one in self.events if isinstance(one, Ended)}

    @property
    def faults(self):
        return [one.status for one in self.events if isinstance(one, Exception)]


def order(text, n=1, max_tokens=6, **sampling):
    chat = Chat(messages=[{"role": "user", "content": text}])
    sampling = {"temperature": 1.0, "seed": len(text), **sampling}
    return Order((chat,), sampling, max_tokens, 64, n, in_pieces=False)


def orders():
    texts = ("a", "what is it", "the dog sees a cat", "and", "a longer text than all of the others here")
    return [order(text, 1 + place % 3, 3 + 2 * place) for place, text in enumerate(texts)]


def carried_out(worker, tickets, watch=lambda: None):
    line = list(tickets)
    while line or worker.tickets:
        while line and worker.room:
            worker.begin(line.pop(0))
        worker.step()
        watch()


def alone(bundle, asked):
    told = Told(asked)
    carry_out(bundle, asked, told.tell, told.cancelled)
    return told.answers


@pytest.mark.parametrize(("rows", "tokens"), [(1, None), (4, None), (64, None), (64, 100), (64, 1)])
def test_answers_are_those_alone_whatever_the_room(nano, rows, tokens):
    worker = Together(nano, rows, tokens)
    tickets = [Told(one) for one in orders()]
    most, cells = 0, 0

    def watch():
        nonlocal most, cells
        most = max(most, len(worker._running.rows))
        if len(worker._running.rows) > 1:
            cells = max(cells, worker._running.tokens_with())

    carried_out(worker, tickets, watch)
    assert most <= rows and (tokens is None or cells <= tokens)
    assert rows == 1 or tokens is not None or most > 1
    for ticket in tickets:
        assert ticket.answers == alone(nano, ticket.order) and ticket.ended == 1
        assert isinstance(ticket.events[0], Begun)


def test_one_by_one(nano):
    worker = InTurn(nano)
    tickets = [Told(one) for one in orders()[:2]]
    carried_out(worker, tickets)
    assert [ticket.answers for ticket in tickets] == [alone(nano, one.order) for one in tickets]


def test_what_holds_in_the_decoder_waits_for_those_under_way_and_holds_for_nobody_else(nano):
    few = Offers(nano, [("gsearch", {"cuts": {1: 0.5}})]).chosen(["gsearch"])
    plain, another = Told(order("goes on", 2, 12)), Told(order("waits"))
    turn, gone = (Told(replace(order(text), methods=few)) for text in ("its turn", "gone"))
    worker = Together(nano, 64)
    worker.begin(plain)
    assert worker.takes(another) and not worker.takes(turn)
    gone.cancelled.set()
    assert worker.takes(gone), "nobody waits for it"
    worker.begin(gone)
    assert gone.ended == 1 and worker.tickets == [plain]
    carried_out(worker, [])
    worker.begin(turn)
    assert worker.tickets == [turn] and not worker.room and not worker.takes(another)
    worker.step()
    assert not standing(nano.model) and worker.takes(another) and worker.takes(turn)
    carried_out(worker, [another])
    for ticket in (plain, turn, another):
        assert ticket.answers == alone(nano, ticket.order) and not ticket.faults and ticket.ended == 1


def test_who_hangs_up_frees_rows_and_line(nano):
    worker = Together(nano, 3)
    tickets = [Told(order("gone", 5, 60)), Told(order("waits", 1, 60)), Told(order("stays", 1, 5))]
    for ticket in tickets:
        worker.begin(ticket)
    worker.step()
    assert len(worker._running.rows) == 3
    for ticket in tickets[:2]:
        ticket.cancelled.set()
    worker.step()
    assert worker.tickets == tickets[2:] and len(worker._running.rows) == 1
    carried_out(worker, [])
    assert [ticket.ended for ticket in tickets] == [1, 1, 1] and not worker._line and not worker._going
    assert tickets[2].answers == alone(nano, tickets[2].order)


def test_a_prompt_that_fails_fails_by_itself(nano, monkeypatch):
    forwarded = Running._forwarded
    tickets = [Told(one) for one in orders()[:3]]
    worker = Together(nano, 64)
    for ticket in tickets:
        worker.begin(ticket)
    bad = worker._line[1][0].prompt.length

    def fails(self, inputs):
        if (inputs["attention_mask"].sum(-1) == bad).any():
            raise torch.OutOfMemoryError("no")
        return forwarded(self, inputs)

    monkeypatch.setattr(Running, "_forwarded", fails)
    carried_out(worker, [])
    assert tickets[1].faults == [503] and not tickets[1].answers
    for ticket in (tickets[0], tickets[2]):
        assert not ticket.faults and len(ticket.answers) == ticket.order.n


def test_a_step_that_fails_is_survived(nano, monkeypatch, caplog):
    worker = Together(nano, 64)
    tickets = [Told(one) for one in orders()[:2]]
    for ticket in tickets:
        worker.begin(ticket)
    worker.step()

    def fails(self):
        raise RuntimeError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(Running, "_inputs", fails)
        worker.step()
    assert [ticket.faults for ticket in tickets] == [[500], [500]] and "secret" in caplog.text
    assert not worker.tickets and not worker._running.rows
    another = Told(orders()[2])
    carried_out(worker, [another])
    assert another.answers == alone(nano, another.order)


def test_prompts_are_forwarded_in_reasonable_numbers(nano, monkeypatch):
    monkeypatch.setattr(scheduler, "PROMPTS", 40)
    cells = []
    forwarded = Running._forwarded
    monkeypatch.setattr(
        Running,
        "_forwarded",
        lambda self, inputs: cells.append(inputs["input_ids"].numel()) or forwarded(self, inputs),
    )
    tickets = [Told(one) for one in orders()]
    worker = Together(nano, 64)
    for ticket in tickets:
        worker.begin(ticket)
    worker.step()
    assert len(cells) > 1 and all(one <= 40 for one in cells[:-1])
