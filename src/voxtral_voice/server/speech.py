"""POST /v1/audio/speech: text in, sound out, as the OpenAI API has it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from voxtral_voice.config import Config
from voxtral_voice.encode import Encoding, encoder, media_type
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.refused import Refusal
from voxtral_voice.server.stream import EVENTS, ClientLeftError, Stream, nobody, sse, while_waited_for
from voxtral_voice.server.wire_session import MODEL, voice_name
from voxtral_voice.speech import read_aloud
from voxtral_voice.types import SPEAK_HZ, Pcm, Voice, VoiceError

_DELTA_BYTES = 32_768  # of sound in one server-sent event
_FRAME_SAMPLES = 600  # of Kokoro's: 25 ms
_AT_ONCE = 4 * SPEAK_HZ  # of samples encoded at once, for no engine and no loop waits for an encoder


def _named(voice: object) -> object:
    """OpenAI's custom voices come as {"id": …}."""
    return voice.get("id") if isinstance(voice, dict) else voice


class SpeechIn(BaseModel):
    """As in the OpenAI API; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    input: str = Field(min_length=1)
    model: str = MODEL
    voice: Annotated[str | None, BeforeValidator(_named)] = None
    instructions: str | None = None
    response_format: Encoding = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"
    speed: float = Field(default=1.0, ge=0.25, le=4.0)


def router(manager: ModelManager, config: Config) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.post("/audio/speech", response_class=Response)
    async def speech(body: SpeechIn, request: Request) -> Response:
        """Text in, sound out, streamed clause by clause: 24 kHz mono."""
        try:
            if refusal := manager.refusal():
                raise refusal
            limit = config.limits.speech_input_chars
            if len(body.input) > limit:
                said = f"the text has {len(body.input)} characters, at most {limit} are read"
                raise VoiceError("invalid_event", said, param="input")
            clauses = read_aloud(body.input, _voice(body, config), manager.engines, config)
            try:  # the first sound decides whether this is an answer or an error
                first = await while_waited_for(request, _first(clauses))
            except BaseException:
                await clauses.aclose()
                raise
        except VoiceError as error:
            return Refusal(error)
        except ClientLeftError:
            return nobody()
        if body.stream_format == "sse":
            return Stream(_events(first, clauses, body), clauses, EVENTS)
        encoding = body.response_format
        return Stream(_encoded(first, clauses, encoding), clauses, media_type(encoding, SPEAK_HZ))

    return routes


def _voice(body: SpeechIn, config: Config) -> Voice:
    name = voice_name(body.voice[:64], config) if body.voice else config.voice.name
    return Voice(name, min(2.0, max(0.5, body.speed)))


async def _first(clauses: AsyncGenerator[Pcm, None]) -> Pcm:
    """Raises VoiceError, also where no sound comes at all."""
    async for pcm in clauses:
        return pcm
    raise VoiceError("invalid_event", "nothing in this text can be spoken", param="input")


async def _sound(first: Pcm, clauses: AsyncGenerator[Pcm, None]) -> AsyncGenerator[Pcm, None]:
    async with aclosing(clauses):
        yield first
        async for pcm in clauses:
            yield pcm


async def _encoded(first: Pcm, clauses: AsyncGenerator[Pcm, None], encoding: Encoding) -> AsyncGenerator[bytes, None]:
    """One encoder for all clauses: its state goes on from one to the next."""
    encoding_of = encoder(encoding, SPEAK_HZ)
    async with aclosing(_sound(first, clauses)) as sound:
        async for pcm in sound:
            for start in range(0, len(pcm), _AT_ONCE):
                if data := await asyncio.to_thread(encoding_of.push, pcm[start : start + _AT_ONCE]):
                    yield data
    if data := await asyncio.to_thread(encoding_of.finish):
        yield data


async def _events(first: Pcm, clauses: AsyncGenerator[Pcm, None], body: SpeechIn) -> AsyncGenerator[bytes, None]:
    """The same in server-sent events."""
    samples = 0

    async def counted() -> AsyncGenerator[Pcm, None]:
        nonlocal samples
        async with aclosing(clauses):
            async for pcm in clauses:
                samples += len(pcm)
                yield pcm

    samples += len(first)
    async with aclosing(_encoded(first, counted(), body.response_format)) as parts:
        async for part in parts:
            for start in range(0, len(part), _DELTA_BYTES):
                delta = base64.b64encode(part[start : start + _DELTA_BYTES]).decode("ascii")
                yield sse({"type": "speech.audio.delta", "audio": delta})
    read, made = len(body.input), samples // _FRAME_SAMPLES
    usage = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    yield sse({"type": "speech.audio.done", "usage": usage})
