"""Whatever the body: a whole answer, or a 4xx that says why; never a 5xx, and the next request is answered."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dual_encoders
from endpoint import NAME, question, served
from vitrail.models.loading import load
from vitrail.serving.settings import Fetching

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
CHAT = {
    **question(),
    "max_tokens": 2, "top_p": 0.9, "top_k": 3, "seed": 1, "stop": ["zz"], "n": 1, "logprobs": True, "top_logprobs": 1,
    "stream": False, "stream_options": {"include_usage": True}, "repetition_penalty": 1.1, "user": "someone",
    "response_format": {"type": "text"}, "max_completion_tokens": 2, "logit_bias": {}, "metadata": {},
    "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "methods": ["vicrop", "gsearch"],
}  # fmt: skip
TEXT = {
    "model": NAME,
    "prompt": "the dog",
    "max_tokens": 2,
    "echo": True,
    "logprobs": 1,
    "temperature": 0,
    "best_of": 1,
}
TEXTS = {
    "model": NAME,
    "input": ["a dog", "a cat"],
    "encoding_format": "float",
    "dimensions": 16,
    "user": "someone",
}
FIELDS = ["role", "content", "name", "tool_calls", "tool_call_id", "x"]
MESSAGE = {"role": "user", "content": [{"type": "text", "text": "a"}]}


@st.composite
def broken(draw, whole):
    """A right body with some of it replaced, anywhere: fields, their names, inside messages and parts."""
    body = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([*body, "unknown"]))
        body[name] = draw(JSON | st.sampled_from([*whole.values()]) | st.integers(-3, 3))
    if draw(st.booleans()) and "messages" in whole:
        message = {
            **MESSAGE,
            draw(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "x"])): draw(JSON),
        }
        part = {
            "type": draw(st.sampled_from(["text", "image_url", "input_audio"])),
            draw(st.sampled_from(["text", "image_url"])): draw(JSON),
        }
        body["messages"] = [message, {**MESSAGE, "content": [part]}]
    return body


@pytest.fixture(scope="module")
def server(nano):
    offered = [("vicrop", {"base": 12}), ("gsearch", {"cuts": {1: 0.5}})]
    with served(nano, offered=offered, max_tokens=8, choices=4, patience=5) as running:
        yield running


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    dual_encoders.save("clip", folder)
    with served(load(folder), patience=5) as running:
        yield running


def holds(server, path, body):
    status, _, answer = server.send(body, path)
    assert status in (200, 400, 404, 413), (status, body, answer)
    if status != 200:
        error = answer["error"]
        assert len(error["message"]) > 15 and "Traceback" not in error["message"]


ADDRESSES = st.sampled_from(
    ["http://", "https://", "HTTP:", "http:/", "https://127.0.0.1", "http://[::1", "file://"]
)
SHOWN = st.builds(
    "".join, st.tuples(ADDRESSES, st.text(max_size=12) | st.sampled_from(["\ud800", "a" * 9_000, "@b"]))
)


def raw(body):
    return json.dumps(body).encode()


def cases(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )


def quick(server, path, whole, examples):
    @given(body=broken(whole).map(raw) | JSON.map(raw) | st.binary(max_size=60))
    @cases(examples)
    def run(body):
        if b'"stream": true' not in body and b'"stream": 1' not in body:  # streams are read elsewhere
            holds(server, path, body)

    run()


def test_chat(server):
    quick(server, "/v1/chat/completions", CHAT, 150)
    assert server.send(question())[0] == 200 and server.empty()


def test_completions(server):
    quick(server, "/v1/completions", TEXT, 100)
    assert server.send(question())[0] == 200 and server.empty()


def test_embeddings(encoder):
    quick(encoder, "/v1/embeddings", TEXTS, 80)
    status, _, _ = encoder.send({"model": NAME, "input": "a dog"}, "/v1/embeddings")
    assert status == 200 and encoder.empty()


def test_addresses(nano):
    """Nothing that stands in the place of an address is a fault of the server's; none of these may be asked."""

    def body(url):
        return question([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}])

    with served(nano, patience=5, fetching=Fetching(allow_hosts=("127.0.0.1",))) as running:

        @given(url=SHOWN | st.text(max_size=12))
        @cases(80)
        def run(url):
            status, _, answer = running.send(raw(body(url)))
            assert status == 400 and answer["error"]["param"] == "messages[0].content[0].image_url.url", (
                answer
            )

        run()
        quick(running, "/v1/chat/completions", {**question(), **body("http://127.0.0.1/a.png")}, 40)
        assert running.send(question())[0] == 200 and running.empty()


@pytest.mark.long
@pytest.mark.parametrize(("path", "whole"), [("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)])
def test_thousands(server, path, whole):
    quick(server, path, whole, 2_500)
    assert server.send(question())[0] == 200 and server.empty()
