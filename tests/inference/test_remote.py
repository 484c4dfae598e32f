"""Answers from an address: a loopback server, its failures, the budget and what is kept."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from conftest import chat
from echoes import echoing
from vitrail.inference.answerers import question
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.remote import BudgetSpent, Refusal, RemoteAnswerer, RemoteSettings
from vitrail.inference.remote_failures import AddressDown


@pytest.fixture
def fake():
    with echoing() as server:
        yield server


def answerer(fake, tmp_path, waits=None, **settings):
    chosen = RemoteSettings(base_url=fake.url, model="m", **settings)
    return RemoteAnswerer(
        chosen,
        cache=tmp_path / "cache",
        ledger=tmp_path / "ledger.jsonl",
        sleep=([] if waits is None else waits).append,
    )


def test_answers_in_order_bounded_and_kept(fake, tmp_path):
    chats = [question(f"q{n}") for n in range(9)]
    one = answerer(fake, tmp_path, concurrency=3)
    assert [reply.text for reply in one.ask(chats)] == [f"echo q{n}" for n in range(9)]
    assert 1 <= fake.most <= 3 and len(fake.seen) == 9 and one.spent.tokens == 63
    other = answerer(fake, tmp_path)
    assert [reply.text for reply in other.ask(chats)] == [f"echo q{n}" for n in range(9)]
    assert len(fake.seen) == 9
    sampled = [GenerationSettings(temperature=1.0, seed=seed) for seed in (0, 1, 1)]
    for settings in sampled:
        other.ask(chats[:1], settings)
    assert len(fake.seen) == 11, "another seed is another draw, the same one is kept"


def test_pictures_go_along(fake, tmp_path):
    answerer(fake, tmp_path).ask([chat("what?", images=1)])
    parts = fake.seen[0]["messages"][0]["content"]
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_it_tries_again_where_that_can_help(fake, tmp_path):
    waits = []
    fake.plan = [503, 429, 500]
    one = answerer(fake, tmp_path, waits, wait=0.5)
    assert one.ask([question("q")])[0].text == "echo q"
    assert waits == [0.5, 3.0, 2.0] and one.spent.requests == 1
    fake.plan = [400]
    with pytest.raises(ValueError, match="HTTP 400"):
        one.ask([question("other")])
    fake.plan = [503] * 3
    with pytest.raises(ValueError, match="did not answer after 3 tries"):
        answerer(fake, tmp_path, [], retries=2).ask([question("third")])


def test_a_wait_that_the_address_asks_for_is_kept(fake, tmp_path):
    waits = []
    fake.plan, fake.retry_after = [429, 429], format_datetime(datetime.now(UTC) + timedelta(seconds=200))
    assert answerer(fake, tmp_path, waits).ask([question("q")])[0].text == "echo q"
    assert len(waits) == 2 and all(150 < wait <= 200 for wait in waits), (
        "a date, and more than the usual most"
    )
    fake.plan, fake.retry_after = [429], "3600"
    with pytest.raises(ValueError, match=r"asks to wait 3,600 s.*go on then"):
        answerer(fake, tmp_path, waits).ask([question("later")])
    fake.plan, fake.retry_after = [429], "soon"
    answerer(fake, tmp_path, waits, wait=0.5).ask([question("last")])
    assert waits[2:] == [0.5], "what cannot be read is no wait"


def test_a_chat_that_is_refused_for_what_it_is_stops_no_other(fake, tmp_path):
    long = {"message": "too many\ntokens", "param": "messages", "code": "context_length_exceeded"}
    budget = {"message": "max_tokens is too large", "param": "max_tokens", "code": None}
    format_of = {"message": "no picture", "param": "messages[0].content", "code": "unsupported_value"}
    fake.refused = {"q1": (400, long), "q2": (413, "large"), "q3": (422, budget), "q4": (400, format_of)}
    chats = [question(f"q{n}") for n in range(6)]
    one = answerer(fake, tmp_path)
    found = one.ask_each(chats)
    assert [getattr(reply, "status", 200) for reply in found] == [200, 400, 413, 422, 400, 200]
    assert found[1] == Refusal(f"{one.name} refused it with HTTP 400: too many tokens", 400)
    assert one.spent.requests == 2 and len(fake.seen) == 6
    with pytest.raises(ValueError, match="HTTP 400: too many tokens"):
        one.ask(chats)
    gone = {"type": "image", "path": "not-there.png"}
    missing = question("what?", images=[gone])
    (unsent,) = one.ask_each([missing], root=tmp_path)
    assert unsent.status is None and "not-there.png" in unsent.reason


def test_a_chat_that_is_never_answered_stops_no_other(fake, tmp_path):
    """An error each time, a connection that breaks each time, three answers that cannot be read."""
    fake.refused = {"q1": (500, "a bad picture")}
    fake.odd = {"q2": None, "q3": b"\xff\xfe<html>", "q4": b'{"choices": []}', "q5": b"[" * 100_000}
    one = answerer(fake, tmp_path, retries=1)
    found = one.ask_each([question(f"q{n}") for n in range(8)])
    assert [getattr(reply, "failed", None) for reply in found] == [None, *5 * [True], None, None]
    assert [reply.status for reply in found[1:6]] == [500, None, None, None, None]
    reasons = ("HTTP 500: a bad picture", "", "the answer is no JSON", "no text in choices", "is no JSON")
    for reply, reason in zip(found[1:6], reasons, strict=True):
        assert (
            reply.reason.startswith(f"{one.name} did not answer after 2 tries: ") and reason in reply.reason
        )
    assert len(fake.seen) == 3 + 5 * 2 and one.spent.requests == 3
    with pytest.raises(ValueError, match="did not answer after 2 tries: HTTP 500: a bad picture"):
        one.ask([question("q0"), question("q1")])


def test_odd_usage_and_content_of_parts(fake, tmp_path):
    fake.odd = {
        "q1": b'{"choices": [{"message": {"content": "fine"}}], "usage": ["?"]}',
        "q2": b'{"choices": [{"message": {"content": null}}], "usage": {"total_tokens": "many"}}',
        "q3": b'{"choices": [{"message": {"content": ["parts"]}}]}',
    }
    found = answerer(fake, tmp_path, retries=0).ask_each([question(f"q{n}") for n in range(1, 4)])
    assert [getattr(reply, "text", None) for reply in found] == ["fine", "", None]


def test_an_address_that_is_down_stops_at_once(fake, tmp_path):
    fake.down = True
    waits = []
    one = answerer(fake, tmp_path, waits, retries=2, concurrency=1)
    with pytest.raises(
        AddressDown, match=r"after 3 tries: HTTP 503: down; .*/v1/models fails as well \(HTTP 503\)"
    ):
        one.ask_each([question(f"q{n}") for n in range(9)])
    assert len(fake.seen) <= 6 and waits[:2] == [1.0, 2.0]
    nobody = RemoteSettings(base_url="http://127.0.0.1:9/v1", model="m", retries=1)
    with pytest.raises(AddressDown, match=r"models fails as well \(.*refused"):
        RemoteAnswerer(nobody, cache=tmp_path / "c", sleep=[].append).ask([question("q")])


def test_many_failures_in_a_row_are_the_addresss(fake, tmp_path):
    """Its list of models is there, but no chat is answered; one answer in between begins the count anew."""
    fake.refused = {f"q{n}": (500, "no") for n in range(9) if n != 3}  # no. 3 is kept when it is asked again
    settings = {"retries": 0, "concurrency": 1, "failures_in_a_row": 4}
    one = answerer(fake, tmp_path, **settings)
    with pytest.raises(AddressDown, match=r"none of 4 chats in a row; the last one: .* HTTP 500: no"):
        one.ask_each([question(f"q{n}") for n in range(9)])
    assert 8 <= len(fake.seen) <= 9, "three failures, an answer, four failures"
    allowed = answerer(fake, tmp_path, **{**settings, "failures_in_a_row": 9})
    assert sum(hasattr(one, "failed") for one in allowed.ask_each([question(f"q{n}") for n in range(9)])) == 8


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "who are you"),
        (403, "not you"),
        (404, {"message": "The model `m` does not exist.", "code": 404}),
        (400, {"message": "no such model", "code": "model_not_found"}),
        (400, {"message": "must be 1", "param": "temperature", "code": None}),
        (400, {"message": "use another", "param": "max_tokens", "code": "unsupported_parameter"}),
        (429, {"message": "pay first", "code": "insufficient_quota"}),
    ],
)
def test_what_would_stop_every_chat_stops_at_once(fake, tmp_path, status, error):
    fake.refused, waits = {"q1": (status, error)}, []
    with pytest.raises(ValueError, match=rf"refused a request with HTTP {status}"):
        answerer(fake, tmp_path, waits, concurrency=1).ask_each([question(f"q{n}") for n in range(9)])
    assert waits == [] and len(fake.seen) <= 3


def test_the_budget_holds_over_several_starts(fake, tmp_path):
    one = answerer(fake, tmp_path, max_requests=3, concurrency=2)
    with pytest.raises(BudgetSpent, match="3 requests"):
        one.ask([question(f"q{n}") for n in range(5)])
    assert len(fake.seen) == 3
    with pytest.raises(BudgetSpent):
        answerer(fake, tmp_path, max_requests=3).ask([question("new")])
    again = answerer(fake, tmp_path, max_requests=5, concurrency=2)
    assert len(again.ask([question(f"q{n}") for n in range(5)])) == 5
    assert len(fake.seen) == 5, "what was answered is never asked again"
    with pytest.raises(BudgetSpent, match="tokens"):
        answerer(fake, tmp_path, max_tokens=35).ask([question("more")])


def test_the_key_comes_from_the_environment(fake, tmp_path, monkeypatch):
    one = answerer(fake, tmp_path, key_variable="VITRAIL_TEST_KEY")
    with pytest.raises(ValueError, match="environment has no VITRAIL_TEST_KEY"):
        one.ask([question("q")])
    monkeypatch.setenv("VITRAIL_TEST_KEY", "s")
    one.ask([question("q")])
    assert fake.keys == ["Bearer s"]


def test_what_the_address_does_not_take_is_refused(fake, tmp_path):
    with pytest.raises(ValueError, match="not part of chat completions"):
        answerer(fake, tmp_path).ask([question("q")], GenerationSettings(num_beams=2))
