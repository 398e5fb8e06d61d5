"""What cannot be done, told over HTTP as OpenAI's clients read it."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from voxtral_voice.types import VoiceError

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


def status_of(error: VoiceError) -> int:
    return _STATUS.get(error.code, 400)


def error_object(error: VoiceError) -> dict[str, Any]:
    """The `error` of an answer or of a stream."""
    kind = "server_error" if status_of(error) >= 500 else "invalid_request_error"
    return {"type": kind, "code": error.code, "message": error.message, "param": error.param}


def refused(error: VoiceError) -> JSONResponse:
    status = status_of(error)
    return JSONResponse({"error": error_object(error)}, status, _HEADERS.get(status))
