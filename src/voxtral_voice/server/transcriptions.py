"""POST /v1/audio/transcriptions: a recording in, its words out, as the OpenAI API has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from voxtral_voice.config import Config
from voxtral_voice.decode import decoded
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.refused import Refusal
from voxtral_voice.server.stream import EVENTS, ClientLeftError, Stream, nobody, sse, while_waited_for
from voxtral_voice.server.upload import Form, form_of
from voxtral_voice.transcript import Stretch, language_of, write_down
from voxtral_voice.types import HEAR_HZ, VoiceError

_SEEK_HZ = 100  # Whisper's frames, in which OpenAI counts `seek`
_LISTS = ("timestamp_granularities", "include")


class TranscriptionIn(BaseModel):
    """The form's fields beside `file`, as in the OpenAI API; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: str = ""
    language: str | None = Field(default=None, max_length=64)
    prompt: str = ""
    temperature: float = Field(default=0.0, ge=0.0, le=1.0)
    response_format: Literal["json", "text", "verbose_json"] = "json"
    timestamp_granularities: list[Literal["segment"]] = []
    stream: bool = False


def router(manager: ModelManager, config: Config) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.post("/audio/transcriptions", response_class=Response, openapi_extra=_FORM)
    async def transcriptions(request: Request) -> Response:
        """What a recording says: wav, flac, mp3, ogg, opus, m4a or webm, as multipart/form-data."""
        try:
            if refusal := manager.refusal():
                raise refusal
            async with form_of(request) as form:
                asked = _asked(form)
                language = language_of(asked.language or config.voice.language, manager.engines.understander.languages)
                pcm = await while_waited_for(request, decoded(form.file, config.limits.upload_audio_s))
            seconds = round(len(pcm) / HEAR_HZ, 3)
            stretches = write_down(pcm, language, manager.engines)
            if not asked.stream:
                found = await while_waited_for(request, _all(stretches))
                return _answer(found, seconds, language, asked)
            try:  # what fails before the first words has a status
                first = await while_waited_for(request, _first(stretches))
            except BaseException:
                await stretches.aclose()
                raise
            return Stream(_events(first, stretches), stretches, EVENTS)
        except VoiceError as error:
            return Refusal(error)
        except (ClientLeftError, ClientDisconnect):
            return nobody()

    return routes


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **TranscriptionIn.model_json_schema()["properties"],
                    },
                }
            }
        },
    }
}


def _asked(form: Form) -> TranscriptionIn:
    """Raises VoiceError("invalid_event") with the field to mend."""
    given = {name: values if name in _LISTS else values[-1] for name, values in form.fields.items()}
    try:
        return TranscriptionIn.model_validate({name: value for name, value in given.items() if value != ""})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        param = str(first["loc"][0])
        message = f"{param}: {first['msg']}"
        if param == "response_format":
            message += "; subtitles are not made here, and verbose_json has the times of each segment"
        if param == "timestamp_granularities":
            message += "; the times of single words are not known"
        raise VoiceError("invalid_event", message, param=param) from None


async def _all(stretches: AsyncGenerator[Stretch, None]) -> list[Stretch]:
    async with aclosing(stretches):
        return [stretch async for stretch in stretches]


async def _first(stretches: AsyncGenerator[Stretch, None]) -> Stretch | None:
    """None where nothing is said at all."""
    return await anext(stretches, None)


def _answer(found: list[Stretch], seconds: float, language: str, asked: TranscriptionIn) -> Response:
    text = _joined(found)
    if asked.response_format == "text":
        return PlainTextResponse(f"{text}\n")
    answer: dict[str, Any] = {"text": text, "usage": {"type": "duration", "seconds": seconds}}
    if asked.response_format == "verbose_json":
        heard = next((stretch.language for stretch in found if stretch.language), language)
        answer |= {"task": "transcribe", "language": heard, "duration": seconds}
        answer["segments"] = [_segment(number, stretch) for number, stretch in enumerate(found)]
    return JSONResponse(answer)


def _segment(number: int, stretch: Stretch) -> dict[str, Any]:
    """Of OpenAI's fields those that are known: no probabilities come out of here."""
    return {
        "id": number,
        "seek": round(stretch.start_s * _SEEK_HZ),
        "start": round(stretch.start_s, 3),
        "end": round(stretch.end_s, 3),
        "text": stretch.text,
    }


def _joined(found: list[Stretch]) -> str:
    return " ".join(stretch.text for stretch in found)


async def _events(first: Stretch | None, stretches: AsyncGenerator[Stretch, None]) -> AsyncGenerator[bytes, None]:
    """A delta for each stretch."""
    found: list[Stretch] = []

    def delta(stretch: Stretch) -> bytes:
        before = " " if found else ""
        found.append(stretch)
        return sse({"type": "transcript.text.delta", "delta": before + stretch.text})

    async with aclosing(stretches):
        if first is not None:
            yield delta(first)
            async for stretch in stretches:
                yield delta(stretch)
    yield sse({"type": "transcript.text.done", "text": _joined(found)})
