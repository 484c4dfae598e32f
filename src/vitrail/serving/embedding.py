"""Embeddings: the route of a text encoder or a dual encoder."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from jaxtyping import Float

from vitrail.data.records import Image
from vitrail.serving.conversation import chat_of, pictures_shown
from vitrail.serving.endpoint import Endpoint
from vitrail.serving.errors import Refused
from vitrail.serving.requests import EmbeddingRequest, parsed
from vitrail.serving.settings import Serving

if TYPE_CHECKING:
    from vitrail.models.bundle import Bundle

Vectors = Float[np.ndarray, "inputs dim"]


class Embedding(Endpoint):
    """The routes of an encoder. Requests are embedded one after the other, the texts of one together."""

    def __init__(self, bundle: Bundle, settings: Serving) -> None:
        super().__init__(bundle, settings)
        self._model = asyncio.Semaphore(1)
        self._here = 0

    @property
    def running(self) -> int:  # type: ignore[override]
        """Whether a request is being answered."""
        return min(1, self._here)

    @property
    def waiting(self) -> int:  # type: ignore[override]
        """Requests in line and the one being answered."""
        return self._here

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        asked = parsed(EmbeddingRequest, await request.body())
        self.require_name(asked.model)
        shown = pictures_shown(asked.messages or (), self.settings.limits)
        self._here += 1
        try:
            fetched = await self.fetched(request, shown)
            async with self._model:
                vectors, tokens = await asyncio.to_thread(self._embedded, asked, fetched)
        finally:
            self._here -= 1
        self.metrics.answered(tokens, 0)
        self._require_width(asked.dimensions, vectors.shape[1])
        data = [
            {"object": "embedding", "index": index, "embedding": _written(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": self.settings.name, "usage": usage})

    def _require_width(self, wanted: int | None, width: int) -> None:
        if wanted is not None and wanted != width:
            raise Refused(
                400,
                f"dimensions is {wanted}; this model's embeddings have {width}, leave it out",
                param="dimensions",
            )

    def _embedded(self, asked: EmbeddingRequest, fetched: Mapping[str, bytes] | None) -> tuple[Vectors, int]:
        limits = self.settings.limits
        picture = None
        texts = asked.texts
        if asked.messages is not None:
            chat = chat_of(asked.messages, limits, fetched)
            parts = [part for message in chat.messages for part in message.content]
            if len(parts) != 1:
                raise Refused(
                    400,
                    f"messages hold {len(parts)} parts; one picture, or one text, is embedded",
                    param="messages",
                )
            picture = parts[0] if isinstance(parts[0], Image) else None
            texts = [] if picture is not None else [chat.messages[0].text]
        if picture is not None:
            return self._of_picture(picture), 0
        if len(texts) > limits.inputs:
            raise Refused(
                400, f"input has {len(texts)} texts; this server takes {limits.inputs} at once", param="input"
            )
        return self._of_texts(texts)

    def _of_texts(self, texts: list[str]) -> tuple[Vectors, int]:
        lengths = [len(ids) for ids in self.bundle.tokenizer(texts)["input_ids"]]
        limit = self.bundle.encoder.max_length
        for place, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            where = f"input[{place}]" if len(texts) > 1 else "input"
            if not text.strip():
                raise Refused(400, f"{where} is empty; give a text", param=where)
            if limit is not None and length > limit:
                raise Refused(
                    400,
                    f"{where} has {length} tokens, more than this model's {limit}; shorten it",
                    param=where,
                    code="context_length_exceeded",
                )
        if self.bundle.family.kind == "dual encoder":
            return self._scorer.embed_texts(texts), sum(lengths)
        embed: Any = self.bundle
        vectors = embed.embed(texts).numpy()
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), sum(lengths)

    def _of_picture(self, image: Image) -> Vectors:
        if self.bundle.family.kind != "dual encoder":
            raise Refused(
                400,
                f"messages: this model is {self.bundle.family.about}, which takes no pictures",
                param="messages",
            )
        return self._scorer.embed_images([image.open()])

    @property
    def _scorer(self) -> Any:
        from vitrail.models.experts.clip_scorer import ClipScorer

        return ClipScorer(self.bundle.model, self.bundle.processor)


def _written(vector: Float[np.ndarray, "dim"], form: str) -> list[float] | str:
    """Numbers, or their little-endian float32 as base64, which the official client asks for."""
    small = vector.astype("<f4")
    return base64.b64encode(small.tobytes()).decode() if form == "base64" else small.tolist()
