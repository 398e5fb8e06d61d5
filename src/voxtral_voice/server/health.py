"""How the server is: for load balancers, monitors and people."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from voxtral_voice import __version__
from voxtral_voice.config import Config
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.last_use import LastUse
from voxtral_voice.server.refused import Refusal


def router(
    config: Config, manager: ModelManager, metrics: Metrics, active: Callable[[], int], last_use: LastUse
) -> APIRouter:
    """`active`: conversations open at this moment."""
    routes = APIRouter()

    async def ping() -> Response:
        """A load balancer asks: 204 while models load, 200 when ready, 503 when they failed."""
        refusal = manager.refusal()
        return Response(status_code=200 if refusal is None else 204 if refusal.code == "model_loading" else 503)

    # Before the others: the configured path answers as a load balancer reads it even where it is named /health.
    for path in dict.fromkeys(("/ping", config.server.health_path)):
        routes.add_api_route(path, ping, methods=["GET"])
        routes.add_api_route(path, ping, methods=["HEAD"], include_in_schema=False)

    @routes.head("/health", include_in_schema=False)
    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @routes.head("/ready", include_in_schema=False)
    @routes.get("/ready", response_model=None)
    async def ready() -> Response:
        """200 once a real turn has gone through every engine, 503 before."""
        refusal = manager.refusal()
        return JSONResponse({"ready": True}) if refusal is None else Refusal(refusal, noted=False)

    @routes.get("/status")
    async def status() -> dict[str, object]:
        plan, gpu = manager.plan, manager.gpu
        return {
            "version": __version__,
            "profile": manager.profile,
            "why": plan.why if plan else "the machine has not been looked at yet",
            "models": {
                name: {"state": state.state, "progress": state.progress, "detail": state.detail}
                for name, state in manager.states.items()
            },
            "sessions": {"active": active(), "max": config.limits.sessions},
            "idle_s": last_use.idle_s,
            "latency_ms": metrics.latency_ms(),
            **({"gpu": gpu} if gpu else {}),
        }

    @routes.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.prometheus(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/v1/speech-to-speech/metrics")
    @routes.get("/performance")
    async def performance() -> dict[str, object]:
        """The latencies of /metrics as JSON."""
        return {"latency_ms": metrics.latency_ms()}

    return routes
