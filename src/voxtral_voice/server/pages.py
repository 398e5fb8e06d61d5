"""The web page: its files as they lie in the package, sent so that nothing but them can run in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from voxtral_voice import __version__

FOLDER = Path(__file__).parents[1] / "web"
PREFIX = "/web/"

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    # Worklets are files for this reason: a blob or an inline script would need a hole in it.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # a changed file is seen at the next visit; an unchanged one costs a 304
    "Vary": "Accept",
}


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    kind: str
    etag: str


@cache
def files() -> dict[str, File]:
    """Path on the server -> file. What is not in here is not served."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if kind := _KINDS.get(path.suffix):
            body = path.read_bytes()
            where = "/" if path.name == "index.html" else PREFIX + path.name
            found[where] = File(body, f"{kind}; charset=utf-8", f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found


def router() -> APIRouter:
    routes = APIRouter()

    @routes.head("/", include_in_schema=False)
    @routes.get("/", response_model=None)
    async def index(request: Request) -> Response:
        """The page; for clients that ask for JSON, what this is and where to go."""
        accepted = request.headers.get("accept", "")
        if "application/json" in accepted and "text/html" not in accepted:
            links = {"realtime": "/v1/realtime", "speech": "/v1/audio/speech", "status": "/status", "docs": "/docs"}
            return JSONResponse({"name": "Voxtral Voice", "version": __version__, **links}, headers={"Vary": "Accept"})
        return _sent("/", request)

    @routes.head(PREFIX + "{name}", include_in_schema=False)
    @routes.get(PREFIX + "{name}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return _sent(PREFIX + name, request)

    return routes


def _sent(path: str, request: Request) -> Response:
    found = files().get(path)
    if found is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": found.etag}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.kind, headers=headers)
