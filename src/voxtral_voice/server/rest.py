"""The OpenAI-shaped HTTP endpoints: models, voices, speech."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from voxtral_voice import audio
from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.wire_session import MODEL
from voxtral_voice.speech import read_aloud
from voxtral_voice.types import SPEAK_HZ, Pcm, Voice, VoiceError
from voxtral_voice.voices import OPENAI_NAMES, VOICES, resolve

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
    "internal_error": 500,
}


_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},  # the rest of the body would be read as the next request
    503: {"Retry-After": "5"},
}


class SpeechIn(BaseModel):
    """As in the OpenAI API; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    input: str = Field(min_length=1)
    model: str = MODEL
    voice: str = Field(default="", max_length=64)
    response_format: Literal["wav", "pcm"] = "wav"
    speed: float = Field(default=1.0, ge=0.25, le=4.0)


def refused(error: VoiceError) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    status = _STATUS.get(error.code, 400)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"type": kind, "code": error.code, "message": error.message, "param": error.param}}
    headers = _HEADERS.get(status)
    return JSONResponse(body, status, headers)


def router(manager: ModelManager, config: Config) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/models")
    async def models() -> dict[str, object]:
        """One model: whatever is asked for is answered by it."""
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "voxtral-voice"}]}

    @routes.get("/audio/voices")
    async def voices() -> dict[str, object]:
        """All voices by name, and the names of OpenAI's that are mapped on them."""
        listed = [{"id": v.name, "language": v.language, "gender": v.gender} for v in VOICES.values()]
        return {"object": "list", "data": listed, "aliases": dict(OPENAI_NAMES), "default": config.voice.name}

    @routes.post("/audio/speech", response_class=Response)
    async def speech(body: SpeechIn) -> Response:
        """Text in, sound out, streamed clause by clause: 24 kHz 16-bit mono as wav or bare samples."""
        if refusal := manager.refusal():
            return refused(refusal)
        limit = config.limits.speech_input_chars
        if len(body.input) > limit:
            message = f"the text has {len(body.input)} characters, at most {limit} are read"
            return refused(VoiceError("invalid_event", message, param="input"))
        try:
            name = resolve(body.voice) if body.voice else config.voice.name
        except VoiceError as error:
            return refused(error)
        voice = Voice(name, min(2.0, max(0.5, body.speed)))
        parts = read_aloud(body.input, voice, manager.engines, config)
        try:  # the first sound decides whether this is an answer or an error
            first = await anext(parts, None)
        except VoiceError as error:
            return refused(error)
        if first is None:
            return refused(VoiceError("invalid_event", "nothing in this text can be spoken", param="input"))
        wav = body.response_format == "wav"
        kind = "audio/wav" if wav else f"audio/pcm;rate={SPEAK_HZ}"
        unbuffered = {"X-Accel-Buffering": "no"}  # nginx would hold the first sound back until its buffers are full
        return StreamingResponse(_sound(first, parts, wav=wav), media_type=kind, headers=unbuffered)

    return routes


async def _sound(first: Pcm, parts: AsyncGenerator[Pcm, None], *, wav: bool) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        if wav:
            yield audio.wav_header(SPEAK_HZ)
        yield audio.to_pcm16(first)
        try:
            async for pcm in parts:
                yield audio.to_pcm16(pcm)
        except VoiceError as error:  # too late for a status: what was made is kept, the log says why it ends
            log.error("speech ends early: %s", error.message)
