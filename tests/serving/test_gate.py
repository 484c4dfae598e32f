"""Who is let in: key, address, size, number; and what an answer to the others looks like."""

import socket
import threading
import time

import pytest

from endpoint import NAME, question, served

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(nano):
    with served(nano, body=20_000, patience=0.5, max_tokens=64, images=1, pixels=2_000, queue=8) as running:
        yield running


def test_the_key_is_asked_for(nano):
    with served(nano, key="sesame") as running:
        for headers in (
            {},
            {"Authorization": "Bearer sesam"},
            {"Authorization": "Bearer sésame".encode().decode("latin-1")},
        ):
            status, _, body = running.send(question(), **headers)
            assert status == 401 and body["error"]["code"] == "invalid_api_key"
        assert running.send(None, "/v1/models", "GET")[0] == 401
        assert running.send(None, "/health", "GET")[0] == 200
        assert running.send(question(), Authorization="Bearer sesame")[0] == 200
        assert running.client("sesame").models.list().data[0].id == NAME


def test_a_page_under_another_name_is_refused(server):
    """A web site whose name leads to this machine cannot ask through its visitor's browser."""
    status, _, body = server.send(question(), Host="evil.example:8000")
    assert status == 403 and "is not 'evil.example'" in body["error"]["message"]
    assert server.send(question(), Content_Type="text/plain")[0] == 415


def test_large_and_slow_bodies(server):
    status, _, body = server.send(question("x" * 30_000))
    assert status == 413 and "20,000 bytes" in body["error"]["message"]
    for head in (b"Content-Length: 900\r\n", b"Transfer-Encoding: chunked\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            begin = (
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            )
            connection.sendall(begin + head + b"\r\n")
            if head.startswith(b"Transfer"):
                piece = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
                connection.sendall(piece)
            answer = connection.recv(4096)
        assert b" 408 " in answer if head.startswith(b"Content") else b" 413 " in answer
    assert server.empty()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**question(), "max_tokens": 65}, "max_tokens is 65; this server allows 64"),
        ({**question(), "n": 65}, "n is 65 (n times prompts); this server allows 64"),
        ({**question(), "n": 0}, "n: must be greater than or equal to 1 (it is 0)"),
        ({**question(), "temperature": "hot"}, "temperature: must be a number (it is 'hot')"),
        ({**question(), "top_logprobs": 2}, "top_logprobs: has no effect without logprobs: true"),
        ({**question(), "frequency_penalty": 0.5}, "frequency_penalty: is not supported here; leave it out"),
        ({**question(), "tools": [{"type": "function"}]}, "tools[0].function: this field is required"),
        ({**question(), "tools": [TOOL]}, "tools: is not supported here; leave tools out"),
        ({**question(), "tool_choice": "required"}, "tool_choice: must be one of none, auto"),
        ({**question(), "maxtokens": 5}, "maxtokens: there is no such field; did you mean 'max_tokens'?"),
        ({**question(), "messages": []}, "messages: "),
        (
            {**question(), "messages": [{"role": "king", "content": "x"}]},
            "messages[0].role: must be one of system",
        ),
        (
            {**question(), "messages": [{"role": "assistant", "content": "x"}]},
            "the last turn must be the user's",
        ),
        (
            {**question(), "messages": [{"role": "user", "content": []}]},
            "messages[0].content is an empty list",
        ),
        ({"model": NAME}, "messages: this field is required"),
        (b"{", "the body is not JSON"),
        (b'{"model": NaN}', "NaN is no JSON number"),
        (b"[" * 20_000, "the body is not JSON (it is nested too deeply)"),
        (b"[]", "the body must be a JSON object"),
        (b'{"model": "\xff"}', "the body is not JSON"),
    ],
)
def test_the_field_and_the_remedy_are_named(server, body, says):
    status, _, answer = server.send(body)
    assert status == 400 and says in answer["error"]["message"], answer
    assert answer["error"]["type"] == "invalid_request_error"


def picture_url(raw, kind="image/png"):
    import base64

    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def png(width, height):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "addresses and paths are not opened here"),
        ("/etc/passwd", "addresses and paths are not opened here"),
        ("http://169.254.169.254/", "addresses and paths are not opened here"),
        ("data:image/png;base64,@@@@", "is no base64"),
        (picture_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "cannot be decoded"),
        (picture_url(png(600, 600)), "more than 2,000; shrink it"),
        (picture_url(png(20, 20)[:-30]), "cannot be decoded"),
    ],
)
def test_pictures_that_are_refused(server, url, says):
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    status, _, body = server.send(question(parts))
    assert status == 400 and says in body["error"]["message"], body
    assert body["error"]["param"] == "messages[0].content[0].image_url.url"


def test_one_picture_too_many(server):
    parts = [{"type": "image_url", "image_url": {"url": picture_url(png(8, 8))}}] * 2
    status, _, body = server.send(question(parts))
    assert status == 400 and "at most 1 go" in body["error"]["message"]


def test_other_paths(server):
    assert server.send(None, "/etc/passwd", "GET")[0] == 404
    status, _, body = server.send(None, "/v1/chat/completions", "GET")
    assert status == 405 and "another method" in body["error"]["message"]


def test_a_full_house_is_told_when_to_come_back_and_a_hang_up_frees_its_place(nano):
    """Long answers fill the house; their clients hang up, in line and under way; then there is room again."""
    with served(nano, queue=3, max_tokens=100_000) as running:
        held = [_hold(running, stream) for stream in (True, False, True)]
        _until(lambda: running.gate.here == 3)
        status, headers, body = running.send(question())
        assert (
            status == 429
            and int(headers["retry-after"]) >= 1
            and "3 requests at a time" in body["error"]["message"]
        )
        assert running.send(None, "/health", "GET")[0] == 200
        for connection in held:
            connection.close()
        _until(lambda: running.gate.here == 0)
        assert running.send(question())[0] == 200


def _hold(running, stream):
    """A connection with a request that takes long."""
    import json

    body = json.dumps(
        {**question(), "max_tokens": 400, "temperature": 2.0, "n": 60, "stream": stream}
    ).encode()
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=60)
    lines = ("POST /v1/chat/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
    connection.sendall(head.encode() + body)
    return connection


def _until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.parametrize("together", [1, 4])
def test_a_fault_of_ours_shows_no_trace(nano, monkeypatch, caplog, together):
    from vitrail.serving import scheduler

    def fails(*_):
        raise RuntimeError("secret path /home/someone")

    monkeypatch.setattr(scheduler, "carry_out", fails)
    monkeypatch.setattr(scheduler, "begin", fails)
    with served(nano, together=together) as running:
        for stream in (False, True):
            status, _, body = running.send(question(stream=stream))
            assert status == 500 and body["error"]["type"] == "server_error"
            assert "secret" not in str(body) and "Traceback" not in str(body)
    assert "secret path" in caplog.text


@pytest.mark.parametrize("together", [1, 4])
def test_a_fault_of_the_scheduler_s_own_is_survived(nano, monkeypatch, together):
    from vitrail.serving import scheduler

    def fails(self):
        raise RuntimeError("a fault")

    with served(nano, together=together) as running:
        kind = scheduler.InTurn if together == 1 else scheduler.Together
        with monkeypatch.context() as patched:
            patched.setattr(kind, "step", fails)
            assert running.send(question())[0] == 500
        assert running.send(question())[0] == 200 and running.empty()


def test_stopping_finishes_what_is_under_way(nano):
    answers = []
    with served(nano) as running:
        thread = threading.Thread(
            target=lambda: answers.append(
                running.send({**question(), "max_tokens": 30, "temperature": 1.5, "n": 2})
            )
        )
        thread.start()
        _until(lambda: running.gate.here == 1)
    thread.join(60)
    assert answers[0][0] == 200 and len(answers[0][2]["choices"]) == 2
