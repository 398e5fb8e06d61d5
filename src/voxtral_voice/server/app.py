"""The HTTP applications: everything on the port of the server, health alone on the second port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.websockets import WebSocket

from voxtral_voice import __version__
from voxtral_voice.config import Config
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server import described, health, pages, rest, speech, transcriptions
from voxtral_voice.server.body import Bodies
from voxtral_voice.server.door import Admission, Door
from voxtral_voice.server.last_use import LastUse
from voxtral_voice.server.places import Places
from voxtral_voice.server.realtime import RealtimeWire
from voxtral_voice.server.refused import FAULT, Refusal
from voxtral_voice.server.simple import SimpleWire
from voxtral_voice.server.sockets import SocketDoor
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)


def create_app(config: Config, manager: ModelManager, key: str | None = None) -> FastAPI:
    """The port opens at once; models load in the background. `key`: what clients must show, None for nothing.

    `app.state.health` is the application of the second port.
    """
    server = config.server
    metrics, last_use = Metrics(), LastUse()
    admission = Admission.of(key, server.host, server.origins)
    sockets = SocketDoor(manager, config, metrics, admission)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(manager), name="load models")
        yield
        loading.cancel()
        await sockets.drain()
        with suppress(asyncio.CancelledError):
            await loading
        manager.close()

    app = FastAPI(title="Voxtral Voice", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    alone = FastAPI(title="Voxtral Voice: health", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    bodies = Bodies(server.message_bytes, server.body_timeout_s, server.bodies_bytes)
    uploads = Bodies(server.upload_bytes, server.upload_timeout_s, server.bodies_bytes)
    places = Places(config.limits.requests)
    app.state.door, app.state.bodies, app.state.health = sockets, (bodies, uploads), alone
    for each in (app, alone):
        each.state.metrics = metrics
        each.include_router(health.router(config, manager, metrics, lambda: sockets.active, last_use))
        each.add_middleware(
            Door,
            admission=admission,
            bodies=bodies,
            uploads=uploads,
            places=places,
            also_open=server.health_path,
            last_use=last_use,
        )
        each.add_exception_handler(HTTPException, _not_routed)
    if server.origins:  # the browser's own question comes without a key, so it is answered before the door
        app.add_middleware(
            CORSMiddleware, allow_origins=server.origins, allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    app.include_router(rest.router(config))
    app.include_router(speech.router(manager, config))
    app.include_router(transcriptions.router(manager, config))
    app.include_router(pages.router())
    app.include_router(described.router(app.openapi))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body")
        return Refusal(VoiceError("invalid_event", f"{param}: {first['msg']}".removeprefix(": "), param=param))

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:  # the log has it all: it is raised again behind this
        return Refusal(FAULT)

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await sockets.serve(socket, RealtimeWire)

    @app.websocket("/ws")
    async def simple(socket: WebSocket) -> None:
        await sockets.serve(socket, SimpleWire)

    return app


async def _not_routed(request: Request, error: Exception) -> JSONResponse:
    """What the framework says of a path, a method or a body that it cannot follow, as OpenAI's clients read it."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            known = VoiceError("unknown_url", "there is nothing here; /docs lists what there is")
        case 405:
            known = VoiceError("method_not_allowed", f"{request.method} is not answered here")
        case _:
            known = VoiceError("invalid_event", error.detail)
    answer = Refusal(known)
    answer.headers.update(error.headers or {})
    return answer


async def _load(manager: ModelManager) -> None:
    try:
        await manager.load()
    except VoiceError as error:  # the server stays up and says so at /ready, /status and to every client
        log.error("no models: %s", error.message)
