"""The HTTP application: health, status, metrics, the Realtime socket and the REST endpoints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.websockets import WebSocket

from voxtral_voice import __version__
from voxtral_voice.config import Config
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server import rest
from voxtral_voice.server.key import KeyAtTheDoor
from voxtral_voice.server.realtime import RealtimeDoor
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)


def create_app(config: Config, manager: ModelManager, key: str | None = None) -> FastAPI:
    """The port opens at once; models load in the background. `key`: what clients must show, None for nothing."""
    metrics = Metrics()
    door = RealtimeDoor(manager, config, metrics, key)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(manager), name="load models")
        yield
        loading.cancel()
        await door.drain()
        with suppress(asyncio.CancelledError):
            await loading
        manager.close()

    app = FastAPI(title="Voxtral Voice", version=__version__, lifespan=lifespan)
    app.state.door = door
    app.add_middleware(KeyAtTheDoor, key=key)
    app.include_router(rest.router(manager, config))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body")
        return rest.refused(VoiceError("invalid_event", f"{param}: {first['msg']}".removeprefix(": "), param=param))

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await door.serve(socket)

    @app.get("/")
    async def index() -> dict[str, object]:
        """What this is and where to go."""
        links = {"realtime": "/v1/realtime", "speech": "/v1/audio/speech", "status": "/status", "docs": "/docs"}
        return {"name": "Voxtral Voice", "version": __version__, **links}

    @app.get("/ping")
    async def ping() -> Response:
        """RunPod's load balancer asks: 204 while models load, 200 when ready, 503 when they failed."""
        refusal = manager.refusal()
        return Response(status_code=200 if refusal is None else 204 if refusal.code == "model_loading" else 503)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Response:
        """200 once a real turn has gone through every engine, 503 before."""
        refusal = manager.refusal()
        return JSONResponse({"ready": True}) if refusal is None else rest.refused(refusal)

    @app.get("/status")
    async def status() -> dict[str, object]:
        return {
            "version": __version__,
            "profile": manager.profile,
            "models": {
                name: {"state": state.state, "progress": state.progress, "detail": state.detail}
                for name, state in manager.states.items()
            },
            "sessions": {"active": door.active, "max": config.limits.sessions},
            "latency_ms": metrics.latency_ms(),
        }

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.prometheus(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/speech-to-speech/metrics")
    @app.get("/performance")
    async def performance() -> dict[str, object]:
        """The latencies of /metrics as JSON."""
        return {"latency_ms": metrics.latency_ms()}

    return app


async def _load(manager: ModelManager) -> None:
    try:
        await manager.load()
    except VoiceError as error:  # the server stays up and says so at /ready, /status and to every client
        log.error("no models: %s", error.message)
