"""The endpoint: OpenAI's chat completions and completions, for one model.

``create(bundle, settings)`` is an ASGI application, to be run by any server of such. One thread owns the model
(:mod:`vitrail.serving.worker`); a client that hangs up frees its place; nothing is fetched and no file is opened for a
request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vitrail.serving import moderations
from vitrail.serving.conversation import chat_of
from vitrail.serving.errors import Refused, printable, unexpected
from vitrail.serving.gate import Gate
from vitrail.serving.moderations import Judged, JudgeOrder, ModerationRequest
from vitrail.serving.orders import Begun, Event, Order, Prompt
from vitrail.serving.replies import ChatReply, Reply, TextReply, Words
from vitrail.serving.requests import ChatRequest, CompletionRequest, Sampled, parsed
from vitrail.serving.settings import Serving
from vitrail.serving.worker import Ticket, Worker

if TYPE_CHECKING:
    from vitrail.inference.clue import ClueJudge
    from vitrail.models.bundle import Bundle

T = TypeVar("T")


def create(bundle: Bundle, settings: Serving, judge: ClueJudge | None = None) -> Gate:
    """The endpoint for a model, which also judges pictures where a ``judge`` of it is given.

    ValueError for a model that writes no text.
    """
    require_writer(bundle)
    endpoint = Endpoint(bundle, settings, judge)
    app = FastAPI(title="vitrail", docs_url=None, redoc_url=None, lifespan=endpoint.lifespan)
    app.add_api_route("/health", endpoint.health, methods=["GET"])
    app.add_api_route("/v1/models", endpoint.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", endpoint.model, methods=["GET"])
    routes: list[tuple[str, Any, type[BaseModel]]] = [
        ("/v1/chat/completions", endpoint.chat, ChatRequest),
        ("/v1/completions", endpoint.completions, CompletionRequest),
    ]
    if judge is not None:
        routes.append(("/v1/moderations", endpoint.moderations, ModerationRequest))
    for path, route, kind in routes:
        schema = {"application/json": {"schema": kind.model_json_schema()}}
        extra = {"requestBody": {"required": True, "content": schema}}
        app.add_api_route(path, route, methods=["POST"], openapi_extra=extra)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _no_such_path)
    app.add_exception_handler(Exception, _unexpected)
    return Gate(app, settings, endpoint.worker.seconds_to_wait)


def require_writer(bundle: Bundle) -> None:
    """ValueError for a model that cannot answer in words."""
    if bundle.family.kind in ("encoder", "dual encoder"):
        raise ValueError(
            f"{bundle.name} is {bundle.family.about}, which writes no text; serve a language model or a multimodal one"
        )


class Endpoint:
    """The routes of one model."""

    def __init__(self, bundle: Bundle, settings: Serving, judge: ClueJudge | None = None) -> None:
        self.settings, self.worker, self.begun = settings, Worker(bundle), int(time.time())
        self.judge = judge
        self._words = Words(bundle.tokenizer)
        self._decoding = asyncio.Semaphore(1)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """The worker lives as long as the server."""
        self.worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.close)

    async def health(self) -> Response:
        """Whether it answers, and how many wait."""
        return JSONResponse({"status": "ok", "model": self.settings.name, "waiting": self.worker.waiting})

    async def models(self) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [self._about()]})

    async def model(self, name: str) -> Response:
        """The model, by its name."""
        self._require_name(name)
        return JSONResponse(self._about())

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        asked = parsed(ChatRequest, await request.body())
        self._require_name(asked.model)
        limits = self.settings.limits
        top = (asked.top_logprobs or 0) if asked.logprobs else None
        async with self._decoding:  # pictures are looked at one request at a time, beside the loop
            chat = await asyncio.to_thread(chat_of, asked.messages, limits)
        wanted = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
        order = self._order(asked, (chat,), wanted, top)
        return await self._answer(request, asked, order, ChatReply(self.settings.name, self._words, top))

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = parsed(CompletionRequest, await request.body())
        self._require_name(asked.model)
        wanted = 16 if asked.max_tokens is None else asked.max_tokens
        order = self._order(asked, tuple(asked.prompts), wanted, asked.logprobs, bool(asked.echo))
        return await self._answer(
            request, asked, order, TextReply(self.settings.name, self._words, asked.logprobs)
        )

    async def moderations(self, request: Request) -> Response:
        """``POST /v1/moderations``."""
        assert self.judge is not None
        asked = parsed(ModerationRequest, await request.body())
        if asked.model is not None:
            self._require_name(asked.model)
        async with self._decoding:
            pictures = await asyncio.to_thread(moderations.pictures_of, asked, self.settings.limits)
        ticket = self.worker.submit(JudgeOrder(self.judge, pictures))
        try:
            (judged,) = await unless_gone(request, _collected(ticket))
        finally:
            ticket.cancel()
        assert isinstance(judged, Judged)
        return JSONResponse(moderations.answer(self.settings.name, judged))

    def _order(
        self,
        asked: Sampled,
        prompts: tuple[Prompt, ...],
        wanted: int | None,
        top: int | None,
        echo: bool = False,
    ) -> Order:
        limits, n = self.settings.limits, asked.n or 1
        for name, value, most in (
            ("max_tokens", wanted or 0, limits.max_tokens),
            ("n", n * len(prompts), limits.choices),
            ("top_logprobs" if isinstance(asked, ChatRequest) else "logprobs", top or 0, limits.top_logprobs),
            ("stop", len(asked.stops), limits.stop),
        ):
            if value > most:
                what = f"{value} (n times prompts)" if name == "n" else str(value)
                raise Refused(
                    400, f"{name} is {what}; this server allows {most}, ask for no more", param=name
                )
        sampling: dict[str, Any] = {"temperature": 1.0}
        for name in ("temperature", "top_p", "repetition_penalty"):
            if getattr(asked, name) is not None:
                sampling[name] = getattr(asked, name)
        if asked.seed is not None:
            sampling["seed"] = asked.seed % 2**63
        if asked.top_k is not None and asked.top_k > 0:
            sampling["top_k"] = asked.top_k
        return Order(prompts, sampling, wanted, limits.max_tokens, n, asked.stops, top, echo)

    async def _answer(self, request: Request, asked: Sampled, order: Order, reply: Reply) -> Response:
        ticket = self.worker.submit(order)
        if not asked.stream:
            try:
                whole = await unless_gone(request, _collected(ticket))
            finally:
                ticket.cancel()
            return JSONResponse(reply.answer(whole))
        events = ticket.__aiter__()
        try:
            first = await unless_gone(request, anext(events))
        except BaseException:
            ticket.cancel()
            raise
        assert isinstance(first, Begun)
        told = bool(asked.stream_options and asked.stream_options.include_usage)
        pieces = _streamed(ticket, events, first, reply, order.n * len(order.prompts), told)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)

    def _about(self) -> dict[str, Any]:
        return {"id": self.settings.name, "object": "model", "created": self.begun, "owned_by": "vitrail"}

    def _require_name(self, name: str) -> None:
        if name != self.settings.name:
            message = f"model: there is no model {name[:200]!r} here; ask for {self.settings.name!r}"
            raise Refused(404, printable(message), param="model", code="model_not_found")


async def _collected(ticket: Ticket) -> list[Any]:
    return [event async for event in ticket]


async def _streamed(
    ticket: Ticket, events: AsyncIterator[Event], first: Event, reply: Reply, choices: int, told: bool
) -> AsyncIterator[bytes]:
    """The events as server-sent ones. Left early, because the client hung up, it frees the order's place."""
    try:
        for piece in (*reply.pieces(first), *reply.opening(choices)):
            yield _sent(piece)
        try:
            async for event in events:
                for piece in reply.pieces(event):
                    yield _sent(piece)
        except Refused as refused:
            yield _sent(refused.body())
            return
        if told:
            yield _sent(reply.closing())
        yield b"data: [DONE]\n\n"
    finally:
        ticket.cancel()


def _sent(value: Any) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What ``work`` gives; :class:`Refused` (499) if the client hangs up before."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(499, "the client hung up")
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = "/v1/chat/completions, /v1/completions, /v1/models and /health are there"
    words = {404: f"there is no such path; {known}", 405: "this path is asked with another method"}
    refused = Refused(error.status_code, words.get(error.status_code, "the request cannot be answered"))
    return JSONResponse(refused.body(), refused.status, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse(unexpected().body(), 500)
