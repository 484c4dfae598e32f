"""The page of ``vitrail serve`` in front of an endpoint that says what a test tells it to, on a loopback port.

A test puts scripts into ``Scripted.scripts``; each request of a chat takes the next one. A script is a list of texts
(pieces of the answer), events to wait for (``threading.Event``), and one of the ends below.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from vitrail.serving import page
from vitrail.serving.settings import Limits, Serving

NAMES = ["first", "second"]


@dataclass
class Refuse:
    """The request is answered with an error."""

    status: int
    message: str
    headers: dict = field(default_factory=dict)


class Drop:
    """The connection breaks."""


@dataclass
class Fault:
    """An error in the midst of a stream."""

    message: str


@dataclass
class Did:
    """What methods did, told at the end of the answer."""

    methods: dict


class Scripted:
    """Where it is, what it will say, what it was asked, how many answers were left early, what it offers."""

    def __init__(self, names, key):
        self.names, self.key, self.offers = names, key, []
        self.scripts, self.asked, self.left = deque(), [], 0
        self.url = ""

    def say(self, *steps):
        self.scripts.append(steps)

    def app(self, settings):
        app = FastAPI()
        page.mount(app, settings)
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/v1/chat/completions", self.chat, methods=["POST"])
        return app

    async def models(self, request: Request):
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "send the server's key as 'Authorization: Bearer …'")
        return {"object": "list", "data": [{"id": name, "methods": self.offers} for name in self.names]}

    async def chat(self, request: Request):
        body = await request.json()
        self.asked.append(body)
        steps = self.scripts.popleft() if self.scripts else ("An answer.",)
        if isinstance(steps[0], Refuse):
            return _error(steps[0].status, steps[0].message, steps[0].headers)
        return StreamingResponse(self._stream(steps, body["model"]), media_type="text/event-stream")

    async def _stream(self, steps, model):
        whole, did = False, {}
        try:
            yield _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            said = 0
            for step in steps:
                if isinstance(step, threading.Event):
                    while not step.is_set():
                        await asyncio.sleep(0.01)
                elif isinstance(step, Drop):
                    raise ConnectionError
                elif isinstance(step, Fault):
                    yield _event({"error": {"message": step.message}})
                    return
                elif isinstance(step, Did):
                    did = {"methods": step.methods}
                else:
                    said += 1
                    yield _event({"choices": [{"index": 0, "delta": {"content": step}}]})
            yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **did})
            yield _event({"choices": [], "usage": {"completion_tokens": said}})
            yield b"data: [DONE]\n\n"
            whole = True
        finally:
            self.left += not whole


def _event(value):
    return f"data: {json.dumps(value)}\n\n".encode()


def _error(status, message, headers=None):
    return JSONResponse({"error": {"message": message}}, status, headers=headers)


@contextmanager
def scripted(names=tuple(NAMES), key=None, **limits):
    """The scripted endpoint behind an address, while inside."""
    endpoint = Scripted(list(names), key)
    app = endpoint.app(Serving(name=names[0], key=key, limits=Limits(**limits)))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    server.install_signal_handlers = lambda: None
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    endpoint.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    try:
        yield endpoint
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(60)
