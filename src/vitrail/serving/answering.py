"""Chat completions and completions: the routes of a model that writes.

One thread owns the model (:mod:`vitrail.serving.worker`), which answers many at once; a client that hangs up frees its
place.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from vitrail.serving import moderations
from vitrail.serving.conversation import chat_of, pictures_shown
from vitrail.serving.endpoint import Endpoint, unless_gone
from vitrail.serving.errors import Refused
from vitrail.serving.moderations import Judged, JudgeOrder, ModerationRequest
from vitrail.serving.offers import Offered, Offers
from vitrail.serving.orders import Begun, Event, Order, Prompt
from vitrail.serving.replies import ChatReply, Reply, TextReply, Words
from vitrail.serving.requests import ChatRequest, CompletionRequest, Sampled, parsed
from vitrail.serving.settings import Serving
from vitrail.serving.tickets import Ticket
from vitrail.serving.tool_calls import form_known
from vitrail.serving.worker import Worker

if TYPE_CHECKING:
    from vitrail.inference.clue import ClueJudge
    from vitrail.models.bundle import Bundle


class Answering(Endpoint):
    """The routes of a model that writes, and judges pictures where a ``judge`` is given.

    ``offered``: methods of inference that chats may switch on. ValueError for one that does not fit.
    """

    def __init__(
        self, bundle: Bundle, settings: Serving, judge: ClueJudge | None = None, offered: Offered = ()
    ) -> None:
        super().__init__(bundle, settings)
        self.judge = judge
        self.offers = Offers(bundle, offered)
        limits = settings.limits
        self.worker = Worker(bundle, limits.together, limits.cache_tokens, self.metrics.answered)
        if self.worker.alone and limits.together > 1:
            self.notice = f"answers are made one after the other: {self.worker.alone}"
        self._words = Words(bundle.tokenizer)
        self._decoding = asyncio.Semaphore(1)

    @property
    def running(self) -> int:  # type: ignore[override]
        """Requests that are being answered."""
        return self.worker.running

    @property
    def waiting(self) -> int:  # type: ignore[override]
        """Requests in line and those being answered."""
        return self.worker.waiting

    def seconds_to_wait(self) -> int:
        """About how long a new request would wait."""
        return self.worker.seconds_to_wait()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """The worker lives as long as the server."""
        self.worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.close)

    def _about(self) -> dict[str, Any]:
        return {**super()._about(), "methods": self.offers.about()}

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        asked = parsed(ChatRequest, await request.body())
        self.require_name(asked.model)
        limits = self.settings.limits
        top = (asked.top_logprobs or 0) if asked.logprobs else None
        self._require_tools_known(asked)
        chosen = self.offers.chosen(asked.methods or ())
        fetched = await self.fetched(request, pictures_shown(asked.messages, limits))
        async with self._decoding:  # pictures are looked at one request at a time, beside the loop
            chat = await asyncio.to_thread(chat_of, asked.messages, limits, fetched)
        wanted = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
        order = dataclasses.replace(
            self._order(asked, (chat,), wanted, top), tools=tuple(asked.offered), methods=chosen
        )
        reply = ChatReply(self.settings.name, self._words, top, calls=bool(asked.offered))
        return await self._answer(request, asked, order, reply)

    def _require_tools_known(self, asked: ChatRequest) -> None:
        """:class:`Refused` where tools have a part in what is asked and this model's template knows none."""
        if not asked.speaks_of_tools:
            return
        where = "tools" if asked.offered else "messages"
        encoder = self.bundle.encoder
        if not encoder.takes_tools:
            message = (
                f"{where}: is not supported here; leave tools out: this model's chat template knows none"
            )
        elif asked.offered and not form_known(encoder.chat_template, self.bundle.tokenizer):
            message = (
                "tools: is not supported here; leave it out: the form of this model's calls is not known"
            )
        else:
            return
        raise Refused(400, message, param=where)

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = parsed(CompletionRequest, await request.body())
        self.require_name(asked.model)
        wanted = 16 if asked.max_tokens is None else asked.max_tokens
        order = self._order(asked, tuple(asked.prompts), wanted, asked.logprobs, bool(asked.echo))
        return await self._answer(
            request, asked, order, TextReply(self.settings.name, self._words, asked.logprobs)
        )

    async def moderations(self, request: Request) -> Response:
        """``POST /v1/moderations``."""
        if self.judge is None:
            message = (
                "no constitution is served here, and pictures are judged by one; start with --constitution"
            )
            raise Refused(400, message, param="model", code="not_supported_by_model")
        asked = parsed(ModerationRequest, await request.body())
        if asked.model is not None:
            self.require_name(asked.model)
        fetched = await self.fetched(request, moderations.pictures_shown(asked, self.settings.limits))
        async with self._decoding:
            pictures = await asyncio.to_thread(moderations.pictures_of, asked, self.settings.limits, fetched)
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
        stream = bool(asked.stream)
        return Order(prompts, sampling, wanted, limits.max_tokens, n, asked.stops, top, echo, stream)

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
