"""The simple socket, for a client of 20 lines: a handful of JSON messages over the same session (docs/socket.md)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket

from voxtral_voice import audio, events
from voxtral_voice.config import Config
from voxtral_voice.events import Event
from voxtral_voice.history import Item, new_id
from voxtral_voice.server.client_events import audio_bytes
from voxtral_voice.server.sockets import Message
from voxtral_voice.server.wire_session import voice_name
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.transcript import language_of
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm, TextPart, Voice, VoiceError

# What a client sends.


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Agreement(_Message):
    """What is left out stays as it is."""

    type: Literal["connection"]
    sample_rate_hz: int | None = Field(default=None, ge=8_000, le=48_000)
    voice: str | None = Field(default=None, min_length=1, max_length=64)
    language: str | None = Field(default=None, min_length=2, max_length=64)
    speed: float | None = Field(default=None, ge=0.5, le=2.0)
    instructions: str | None = Field(default=None, max_length=65_536)
    output: Literal["audio", "text"] | None = None
    binary: bool | None = None


class Audio(_Message):
    type: Literal["audio"]
    data: str


class Text(_Message):
    type: Literal["text"]
    text: str = Field(min_length=1, pattern=r"\S")


class Interrupt(_Message):
    type: Literal["interrupt"]


class Ping(_Message):
    type: Literal["ping"]


class Pong(_Message):
    type: Literal["pong"]


_CLIENT: TypeAdapter[Agreement | Audio | Text | Interrupt | Ping | Pong] = TypeAdapter(
    Annotated[Agreement | Audio | Text | Interrupt | Ping | Pong, Field(discriminator="type")]
)


class SimpleWire:
    """One client's: a `sockets.Wire`."""

    def __init__(self, _: WebSocket, config: Config) -> None:
        self._config = config
        self._id = new_id("sess")
        self._settings = SessionSettings.of(config)
        self._input_hz = HEAR_HZ
        self._microphone = audio.Resampler(HEAR_HZ, HEAR_HZ)
        self._binary = False

    @property
    def session_id(self) -> str:
        return self._id

    @property
    def input_hz(self) -> int:
        return self._input_hz

    def settings(self) -> SessionSettings:
        return self._settings

    def created(self) -> Message:
        settings = self._settings
        return {
            "type": "connection",
            "session_id": self._id,
            "sample_rate_hz": self._input_hz,
            "output_sample_rate_hz": SPEAK_HZ,
            "voice": settings.voice.name,
            "language": settings.language,
            "speed": settings.voice.speed,
            "output": "audio" if settings.spoken else "text",
            "binary": self._binary,
        }

    def error(self, reason: VoiceError, *, fault: bool) -> Message:
        return {"type": "error", "code": reason.code, "message": reason.message, "param": reason.param}

    def translate(self, event: Event) -> list[Message | bytes]:
        match event:
            case events.Configured():
                return [event.echo]
            case events.Transcribed():
                return [{"type": "transcription", "text": event.text}]
            case events.ReplyText():
                return [{"type": "response_text", "text": event.text}]
            case events.ReplyAudio():
                return [self._sound(event.pcm)]
            case events.ReplyDone():
                return self._complete(event)
            case events.Failed() if event.code != "response_cancel_not_active":  # stopping what is over is no error
                return [self.error(VoiceError(event.code, event.message, param=event.param), fault=True)]
            case _:
                return []

    def obey(self, session: Session, message: str | bytes) -> list[Message]:
        """Returns what is answered at once. Raises VoiceError for what cannot be done."""
        if isinstance(message, bytes):
            session.hear(self._microphone.push(audio.from_pcm16(message)))
            return []
        match _parsed(message):
            case Audio() as sound:
                try:
                    pcm = audio.from_pcm16(audio_bytes(sound.data))
                except VoiceError as error:
                    raise VoiceError(error.code, error.message, param="data") from None
                session.hear(self._microphone.push(pcm))
            case Text() as written:
                session.cancel()
                # As with what is said: nobody here could delete an old item to make room for another.
                session.add(Item(new_id("item"), "user", TextPart(written.text), spoken=False), makes_room=True)
                session.respond()
            case Interrupt():
                session.cancel()
            case Agreement() as asked:
                self._agree(asked, session)
            case Ping():
                return [{"type": "pong"}]
            case Pong():
                pass
        return []

    def _agree(self, asked: Agreement, session: Session) -> None:
        """Raises VoiceError, nothing changed, for a language that is not heard."""
        settings = self._settings
        voice = Voice(
            voice_name(asked.voice, self._config) if asked.voice else settings.voice.name,
            settings.voice.speed if asked.speed is None else asked.speed,
        )
        self._settings = replace(
            settings,
            voice=voice,
            language=language_of(asked.language, session.languages) if asked.language else settings.language,
            instructions=settings.instructions if asked.instructions is None else asked.instructions,
            spoken=settings.spoken if asked.output is None else asked.output == "audio",
        )
        if asked.sample_rate_hz is not None and asked.sample_rate_hz != self._input_hz:
            self._input_hz = asked.sample_rate_hz
            self._microphone = audio.Resampler(self._input_hz, HEAR_HZ)
        self._binary = self._binary if asked.binary is None else asked.binary
        session.configure(self._settings, self.created())

    def _sound(self, pcm: Pcm) -> Message | bytes:
        data = audio.to_pcm16(pcm)
        if self._binary:
            return data
        duration_ms = round(len(pcm) / SPEAK_HZ * 1000)
        return {"type": "speech_response", "data": base64.b64encode(data).decode("ascii"), "duration_ms": duration_ms}

    @staticmethod
    def _complete(event: events.ReplyDone) -> list[Message | bytes]:
        status = "interrupted" if event.status == "cancelled" else event.status
        text = event.item.text.strip() if event.item is not None else ""
        complete: Message = {"type": "conversation_complete", "status": status, "reason": event.reason, "text": text}
        stop: Message = {"type": "interruption"}
        return [stop, complete] if status == "interrupted" else [complete]


def _parsed(message: str) -> Agreement | Audio | Text | Interrupt | Ping | Pong:
    """Raises VoiceError: invalid_json, invalid_event."""
    try:
        return _CLIENT.validate_json(message)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise VoiceError("invalid_json", f"this is not JSON: {first['msg']}") from None
        param = ".".join(str(part) for part in first["loc"][1:]) or "type"
        raise VoiceError("invalid_event", f"{param}: {first['msg']}", param=param) from None
