"""The endpoint of one model: OpenAI's chat completions, completions and embeddings, as far as the model has them.

``create(bundle, settings)`` is an ASGI application, to be run by any server of such. No file is opened for a request,
and nothing is fetched unless ``settings.fetching`` says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vitrail.serving import page
from vitrail.serving.answering import Answering
from vitrail.serving.embedding import Embedding
from vitrail.serving.endpoint import Endpoint
from vitrail.serving.errors import Refused, unexpected
from vitrail.serving.gate import Gate
from vitrail.serving.moderations import ModerationRequest
from vitrail.serving.offers import Offered
from vitrail.serving.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from vitrail.serving.settings import Serving

if TYPE_CHECKING:
    from vitrail.inference.clue import ClueJudge
    from vitrail.models.bundle import Bundle

POSTS: dict[str, tuple[str, type[BaseModel]]] = {
    "/v1/chat/completions": ("chat", ChatRequest),
    "/v1/completions": ("completions", CompletionRequest),
    "/v1/embeddings": ("embeddings", EmbeddingRequest),
    "/v1/moderations": ("moderations", ModerationRequest),
}


def create(bundle: Bundle, settings: Serving, judge: ClueJudge | None = None, offered: Offered = ()) -> Gate:
    """The endpoint for a model: one that writes answers chats and texts, an encoder gives embeddings.

    A model that writes also judges pictures where a ``judge`` of it is given. ``offered``: methods of inference, by
    name, with their settings or built, that chats may switch on. ValueError for a judge or a method beside an encoder,
    and for a method that does not fit the model; ImportError for fetching without its library.
    """
    embeds = bundle.family.kind in ("encoder", "dual encoder")
    if embeds and judge is not None:
        raise ValueError(
            f"{bundle.name} is {bundle.family.about}, which judges nothing; leave the constitution out"
        )
    if embeds and offered:
        raise ValueError(
            f"{offered[0][0]} is for models that answer, and {bundle.name} is {bundle.family.about}; do not offer it"
        )
    endpoint: Endpoint = (
        Embedding(bundle, settings) if embeds else Answering(bundle, settings, judge, offered)
    )
    app = FastAPI(title="vitrail", docs_url=None, redoc_url=None, lifespan=endpoint.lifespan)
    app.add_api_route("/health", endpoint.health, methods=["GET"])
    app.add_api_route("/metrics", endpoint.told, methods=["GET"])
    app.add_api_route("/v1/models", endpoint.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", endpoint.model, methods=["GET"])
    definitions: dict[str, Any] = {}
    for path, (name, kind) in POSTS.items():
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions |= schema.pop("$defs", {})
        extra = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
        route = getattr(endpoint, name, None) or _not_of_this_kind(bundle, path)
        app.add_api_route(path, route, methods=["POST"], openapi_extra=extra)
    _describe(app, definitions)
    if not embeds:  # there is nobody to talk to
        page.mount(app, settings)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _no_such_path)
    app.add_exception_handler(Exception, _unexpected)
    gate = Gate(app, settings, endpoint.seconds_to_wait, endpoint.metrics.requested)
    gate.notice, gate.has_page = endpoint.notice, settings.page and not embeds
    return gate


def _describe(app: FastAPI, definitions: dict[str, Any]) -> None:
    """Put what the bodies' schemas refer to into the document at ``/openapi.json``."""
    document = app.openapi()
    document.setdefault("components", {}).setdefault("schemas", {}).update(definitions)


def _not_of_this_kind(bundle: Bundle, path: str) -> Any:
    """The route for what a model of this kind does not do, as vLLM answers it."""
    if path == "/v1/embeddings":
        message = (
            "the model served here writes text and gives no embeddings; serve a text encoder (BERT, XLM-R …) or a dual "
            "encoder (CLIP, SigLIP …) for them"
        )
    else:
        message = f"the model served here is {bundle.family.about}, which writes no text; ask /v1/embeddings"

    async def refuse(request: Request) -> Response:
        raise Refused(400, message, param="model", code="not_supported_by_model")

    return refuse


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = f"{', '.join(POSTS)}, /v1/models, /metrics and /health are there"
    words = {404: f"there is no such path; {known}", 405: "this path is asked with another method"}
    refused = Refused(error.status_code, words.get(error.status_code, "the request cannot be answered"))
    return JSONResponse(refused.body(), refused.status, headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse(unexpected().body(), 500)
