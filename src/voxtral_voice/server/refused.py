"""What cannot be done, told over HTTP as OpenAI's clients read it."""

from __future__ import annotations

import logging
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from voxtral_voice.metrics import Metrics
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)

_STATUS = {
    "unauthorized": 401,
    "forbidden_origin": 403,
    "unknown_url": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "message_too_large": 413,
    "rate_limited": 429,
    "model_loading": 503,
    "at_capacity": 503,
    "model_failed": 503,
    "out_of_memory": 503,
    "internal_error": 500,
}
_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},  # the rest of the body would be read as the next request
    503: {"Retry-After": "5"},
}
_NOT_LOGGED = frozenset({"at_capacity", "model_loading", "internal_error"})
"""Of our faults: two pass by themselves, and of the third uvicorn logs the exception behind it."""

FAULT = VoiceError("internal_error", "something went wrong in the server")
"""Of ours; what exactly is in the log alone."""


def status_of(error: VoiceError) -> int:
    return _STATUS.get(error.code, 400)


def error_object(error: VoiceError) -> dict[str, Any]:
    """The `error` of an answer or of a stream."""
    kind = "server_error" if status_of(error) >= 500 else "invalid_request_error"
    return {"type": kind, "code": error.code, "message": error.message, "param": error.param}


def note(scope: Scope, error: VoiceError) -> None:
    """Whatever a client is told over HTTP comes by here once: counted, and logged where it is no fault of the client's.

    `scope`: of its request; the application's `state.metrics` counts.
    """
    metrics: Metrics = scope["app"].state.metrics
    metrics.errors.labels(error.code).inc()
    if status_of(error) >= 500 and error.code not in _NOT_LOGGED:
        log.error("%s ends with %s: %s", scope["path"], error.code, error.message)


class Refusal(JSONResponse):
    """An error as the whole answer."""

    def __init__(self, error: VoiceError, *, noted: bool = True) -> None:
        """`noted`: unless it is what was asked for, as by a probe."""
        status = status_of(error)
        super().__init__({"error": error_object(error)}, status, _HEADERS.get(status))
        self._noted = error if noted else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._noted is not None:
            note(scope, self._noted)
        await super().__call__(scope, receive, send)
