"""A served model on a loopback port, in this process, for tests."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

import uvicorn

from vitrail.serving.application import create
from vitrail.serving.settings import Limits, Serving

NAME = "tested"


class Served:
    """Where it is, and plain requests to it."""

    def __init__(self, gate, port):
        self.gate, self.port = gate, port
        self.url = f"http://127.0.0.1:{port}/v1"

    def client(self, key="none", **options):
        import openai

        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=60, **options)

    def empty(self, seconds=30):
        """Whether no request is here any more (one leaves a moment after its answer)."""
        deadline = time.monotonic() + seconds
        while self.gate.here and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.gate.here

    def send(self, body, path="/v1/chat/completions", method="POST", **headers):
        """Status, headers and JSON of a request; ``body`` bytes, or an object."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            told = {
                "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()},
            }
            connection.request(method, path, raw, told)
            answer = connection.getresponse()
            read = answer.read()
            return answer.status, dict(answer.getheaders()), json.loads(read) if read else None
        finally:
            connection.close()

    def metrics(self):
        """What Prometheus would read: (name, labels) → value."""
        from prometheus_client.parser import text_string_to_metric_families

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain")
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {(one.name, *sorted(one.labels.items())): one.value for one in samples}


@contextmanager
def served(
    bundle, key=None, hosts=("127.0.0.1", "localhost"), judge=None, offered=(), fetching=None, **limits
):
    """The bundle behind an address, while inside."""
    settings = Serving(name=NAME, key=key, hosts=hosts, limits=Limits(**limits), fetching=fetching)
    gate = create(bundle, settings, judge, offered)
    config = uvicorn.Config(
        gate, host="127.0.0.1", port=0, lifespan="on", log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(gate, port)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not end"


def question(text="hello", **fields):
    """A body of a chat request, its answer greedy and short."""
    messages = [{"role": "user", "content": text}]
    return {"model": NAME, "messages": messages, "max_tokens": 6, "temperature": 0, **fields}
