"""What a job asks for: JSON as a client sent it, checked, and turned into what the engines are given."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from voxtral_voice import audio, settings
from voxtral_voice.config import Config
from voxtral_voice.pipeline import Request
from voxtral_voice.speech import default_voice
from voxtral_voice.types import HEAR_HZ, AudioPart, Message, Pcm, Role, TextPart, Voice, VoiceError
from voxtral_voice.voices import resolve

SoundFormat = Literal["wav", "pcm16"]

HISTORY_BYTES = 400_000
"""A conversation goes in and comes out in one item, and the platform splits items over 1 MB."""


# What a client sends.


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Audio(_Part):
    data: str = Field(min_length=1)
    """base64."""
    format: SoundFormat = "wav"
    sample_rate_hz: int | None = Field(default=None, ge=4_000, le=384_000)
    """Of pcm16; a wav says its own."""


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can say it, but no item with it could be sent
        raise ValueError("it has half a character (a lone surrogate)") from None
    return text


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("there are no words in it")
    return text


_Text = Annotated[str, AfterValidator(_whole)]


class _Said(_Part):
    role: Role
    text: _Text


_Language = Annotated[str, Field(pattern="^(auto|[a-z]{2,3})$")]
_Speed = Annotated[float, Field(ge=0.5, le=2.0)]
_VoiceName = Annotated[_Text, Field(min_length=1, max_length=64)]


class _Converse(_Part):
    type: Literal["converse"]
    audio: _Audio | None = None
    text: Annotated[_Text, AfterValidator(_words)] | None = None
    history: list[_Said] = Field(default=[], max_length=1000)
    voice: _VoiceName | None = None
    language: _Language | None = None
    speed: _Speed | None = None
    instructions: Annotated[_Text, Field(max_length=65_536)] | None = None
    output_format: SoundFormat = "wav"


class _Transcribe(_Part):
    type: Literal["transcribe"]
    audio: _Audio
    language: _Language | None = None


class _Speak(_Part):
    type: Literal["speak"]
    text: Annotated[_Text, Field(min_length=1)]
    voice: _VoiceName | None = None
    language: _Language | None = None
    speed: _Speed | None = None
    output_format: SoundFormat = "wav"


class _Info(_Part):
    type: Literal["info"]


_SHAPES: dict[str, type[_Converse] | type[_Transcribe] | type[_Speak] | type[_Info]] = {
    "converse": _Converse,
    "transcribe": _Transcribe,
    "speak": _Speak,
    "info": _Info,
}


# What the engines are given.


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a conversation in text."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Converse:
    request: Request
    history: tuple[Said, ...]
    """Before this turn."""
    text: str | None
    """What the user wrote; None: it was said."""
    sound: SoundFormat


@dataclass(frozen=True, slots=True)
class Transcribe:
    pcm: Pcm
    """Shape [samples], 16 kHz."""
    language: str


@dataclass(frozen=True, slots=True)
class Speak:
    text: str
    voice: Voice
    sound: SoundFormat


@dataclass(frozen=True, slots=True)
class Info:
    pass


Job = Converse | Transcribe | Speak | Info


def read(given: object, config: Config, languages: frozenset[str]) -> Job:
    """`given`: a job's `input`; `languages`: what the understander hears. Takes a while: decodes the audio.

    Raises VoiceError: invalid_event, invalid_audio, unknown_voice, turn_too_long, message_too_large.
    """
    size, limit = _size(given), config.limits.job_input_bytes
    if size > limit:
        raise VoiceError("message_too_large", f"the input has {size} bytes, at most {limit} are taken")
    match _shaped(given):
        case _Converse() as asked:
            return _converse(asked, config, languages)
        case _Transcribe() as asked:
            language = _language(asked.language, config, languages)
            return Transcribe(_pcm(asked.audio, config.limits.job_audio_s), language)
        case _Speak() as asked:
            limit = config.limits.speech_input_chars
            if len(asked.text) > limit:
                raise VoiceError(
                    "invalid_event", f"text: it has {len(asked.text)} characters, at most {limit} are read"
                )
            name = resolve(asked.voice) if asked.voice else default_voice(asked.language, config)
            return Speak(asked.text, Voice(name, asked.speed or config.voice.speed), asked.output_format)
        case _Info():
            return Info()


def _shaped(given: object) -> _Converse | _Transcribe | _Speak | _Info:
    if not isinstance(given, dict):
        raise VoiceError("invalid_event", 'the input is an object such as {"type": "speak", "text": "Good morning."}')
    kind = given.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise VoiceError("invalid_event", f"type: it is one of {', '.join(_SHAPES)}")
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:100].encode(errors="replace").decode()
        what = f"a {kind} job has no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise VoiceError("invalid_event", f"{where or 'the input'}: {what}") from None


def _converse(asked: _Converse, config: Config, languages: frozenset[str]) -> Converse:
    if (asked.audio is None) == (asked.text is None):
        raise VoiceError("invalid_event", "a converse job has either audio or text")
    history = tuple(Said(each.role, each.text) for each in asked.history)
    size = _size([[each.role, each.text] for each in history]) + _size(asked.text)
    if size > HISTORY_BYTES:
        raise VoiceError("message_too_large", f"history and text have {size} bytes, at most {HISTORY_BYTES} are taken")
    part: AudioPart | TextPart
    if asked.audio is not None:
        part = AudioPart(_pcm(asked.audio, config.turns.max_turn_ms / 1000))
    else:
        part = TextPart(asked.text or "")
    usual = settings.SessionSettings.of(config)
    chosen = replace(
        usual,
        voice=Voice(resolve(asked.voice) if asked.voice else usual.voice.name, asked.speed or usual.voice.speed),
        language=_language(asked.language, config, languages),
        instructions=usual.instructions if asked.instructions is None else asked.instructions,
    )
    before = (Message(each.role, (TextPart(each.text),)) for each in history if each.text)
    request = settings.request(chosen, config, (*before, Message("user", (part,))))
    return Converse(request, history, asked.text, asked.output_format)


def _size(given: object) -> int:
    """Bytes of it as JSON. Half characters (a lone surrogate) count too; the shapes refuse them."""
    return len(json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _language(asked: str | None, config: Config, languages: frozenset[str]) -> str:
    if asked is not None and asked != "auto" and asked not in languages:
        raise VoiceError("invalid_event", f"language: {asked!r} is not understood here; an info job lists what is")
    return asked or config.voice.language


def _pcm(given: _Audio, longest_s: float) -> Pcm:
    """Shape [samples], 16 kHz."""
    try:
        data = base64.b64decode(given.data, validate=True)
    except (binascii.Error, ValueError):
        raise VoiceError("invalid_audio", "audio.data: it is not base64") from None
    if given.format == "wav":
        if data[:4] not in (b"RIFF", b"RF64") or data[8:12] != b"WAVE":
            raise VoiceError("invalid_audio", "audio.data: it is not a wav file")
        pcm = audio.read(data, HEAR_HZ, longest_s=longest_s)
    elif given.sample_rate_hz is None:
        raise VoiceError("invalid_event", "audio.sample_rate_hz: pcm16 does not say its rate, so the job must")
    else:
        samples = audio.from_pcm16(data)
        audio.require_length(len(samples), given.sample_rate_hz, longest_s)
        pcm = audio.resample(samples, given.sample_rate_hz, HEAR_HZ)
    if not len(pcm):
        raise VoiceError("invalid_audio", "audio.data: it holds no sound")
    return pcm
