"""The page of ``vitrail serve``: files that a browser loads from the server and from nowhere else.

``mount(app, settings)`` adds the routes. The files are written by hand and sent as they are; the page asks the same
endpoint that programs ask. A content security policy forbids every other address, scripts and styles within the page,
and (by Trusted Types) turning a text into markup.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from vitrail.serving.settings import Serving

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SCRIPTS = (
    "announcing",
    "answers",
    "asking",
    "columns",
    "composer",
    "conversation",
    "elements",
    "exchange",
    "history",
    "main",
    "markdown",
    "methods",
    "notices",
    "pictures",
    "runs",
    "server",
    "store",
    "theme",
)
FILES = {
    "/": "index.html",
    "/page/page.css": "page.css",
    "/page/icon.svg": "icon.svg",
    **{f"/page/{name}.js": f"{name}.js" for name in SCRIPTS},
}
"""Path → file. They hold nothing of the model or of anybody, so they are given without the key."""

LIMITS = "/page/limits.json"
"""What the server allows, for the page to say it before something is sent; behind the key, as the model's name is."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def mount(app: FastAPI, settings: Serving) -> None:
    """Add the page's routes, unless ``settings.page`` says not to."""
    from starlette.responses import JSONResponse

    if not settings.page:
        return
    for path, name in FILES.items():
        app.add_route(path, _File(name).answer, methods=["GET"], include_in_schema=False)
    told = settings.limits.model_dump(include={"body", "images", "pixels", "max_tokens"})

    async def limits(request: Request) -> Response:
        return JSONResponse(told, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    app.add_route(LIMITS, limits, methods=["GET"], include_in_schema=False)


class _File:
    """One file, read once; a browser that has it already is told so."""

    def __init__(self, name: str) -> None:
        self.body = files(__package__).joinpath("files", name).read_bytes()
        kind = KINDS[name[name.rindex(".") :]]
        self.tag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        self.headers = {**HEADERS, "Content-Type": kind, "ETag": self.tag}

    async def answer(self, request: Request) -> Response:
        from starlette.responses import Response

        known = (
            one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")
        )
        if self.tag in known:
            return Response(status_code=304, headers=self.headers)
        return Response(self.body, headers=self.headers)
