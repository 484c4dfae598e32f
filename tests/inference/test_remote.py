"""Answers from an address: a loopback server, its failures, the budget and what is kept."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import chat
from vitrail.inference.answerers import question
from vitrail.inference.generation import GenerationSettings
from vitrail.inference.remote import BudgetSpent, RemoteAnswerer, RemoteSettings


class Fake:
    """A server that echoes; ``plan`` are status codes of the first answers, ``seen`` the requests' bodies."""

    def __init__(self):
        self.plan, self.seen, self.keys, self.now, self.most = [], [], [], 0, 0
        lock, fake = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    fake.seen.append(body)
                    fake.keys.append(self.headers.get("Authorization"))
                    fake.now += 1
                    fake.most = max(fake.most, fake.now)
                    code = fake.plan.pop(0) if fake.plan else 200
                content = body["messages"][-1]["content"]
                said = content if isinstance(content, str) else content[-1]["text"]
                answer = {
                    "choices": [{"message": {"content": f"echo {said}"}, "finish_reason": "stop"}],
                    "usage": {"total_tokens": 7},
                }
                raw = json.dumps(answer if code == 200 else {"error": "busy"}).encode()
                threading.Event().wait(0.02)
                with lock:
                    fake.now -= 1
                self.send_response(code)
                if code == 429:
                    self.send_header("Retry-After", "3")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def fake():
    server = Fake()
    yield server
    server.server.shutdown()
    server.server.server_close()


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
