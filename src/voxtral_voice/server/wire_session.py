"""The Realtime session object and our settings: deep-merged updates in, the whole object out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxtral_voice.config import Config
from voxtral_voice.history import new_id
from voxtral_voice.settings import SessionSettings
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import Voice, VoiceError
from voxtral_voice.voices import VOICES, resolve

MODEL = "voxtral-voice"
_LANGUAGE = r"^(auto|[a-z]{2,3})([-_].*)?$"
_MOST_CHARS = 262_144  # of the whole object: it is sent back at every update, and a client may add to it each time


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Format(_Part):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[16000, 24000] = 24000


class _ServerVad(_Part):
    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, gt=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=60_000)
    create_response: bool = True
    interrupt_response: bool = True


class _SemanticVad(_Part):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class _Transcription(_Part):
    language: str | None = Field(default=None, pattern=_LANGUAGE)

    @property
    def code(self) -> str | None:
        """ISO 639, without the region; "auto", or None where the client has not said."""
        return re.split("[-_]", self.language)[0] if self.language else None


class _Input(_Part):
    format: _Format = _Format()
    transcription: _Transcription | None = None
    turn_detection: Annotated[_ServerVad | _SemanticVad, Field(discriminator="type")] | None = None


class _Output(_Part):
    format: _Format = _Format()
    voice: str = Field(min_length=1, max_length=64)
    speed: float = Field(ge=0.25, le=4.0)


class _Audio(_Part):
    input: _Input
    output: _Output


class _Session(_Part):
    output_modalities: list[Literal["audio", "text"]] = Field(min_length=1, max_length=1)
    instructions: str = Field(max_length=65_536)
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
    include: list[str] | None = None
    audio: _Audio


class WireSession:
    """One client's session object. `update` is all or nothing."""

    def __init__(self, config: Config, model: str) -> None:
        self._config = config
        self.object: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": new_id("sess"),
            "model": model,
            "output_modalities": ["audio"],
            "instructions": config.reply.instructions,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
            "expires_at": int(time.time()) + round(config.limits.session_s),
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": {
                        "type": "semantic_vad",
                        "eagerness": "auto",
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "voice": config.voice.name,
                    "speed": config.voice.speed,
                },
            },
        }
        self._parsed = _Session.model_validate(self.object)

    @property
    def id(self) -> str:
        """What the client and the log call the session."""
        return str(self.object["id"])

    @property
    def input_hz(self) -> int:
        return self._parsed.audio.input.format.rate

    def update(self, change: Mapping[str, Any], languages: frozenset[str]) -> None:
        """Deep merge: what is left out stays, null clears. Raises VoiceError, nothing changed, when it does not fit.

        `languages`: ISO 639 codes of what is heard.
        """
        if change.get("type", "realtime") != "realtime":
            raise VoiceError("invalid_event", "only sessions of type `realtime` are served", param="session.type")
        merged = _merge(self.object, {key: value for key, value in change.items() if key not in ("id", "object")})
        try:
            parsed = _Session.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            param = ".".join(["session", *(str(part) for part in first["loc"])])
            raise VoiceError("invalid_event", f"{param}: {first['msg']}", param=param) from None
        voice_name(parsed.audio.output.voice, self._config)
        _check_language(parsed.audio.input.transcription, languages)
        merged = _known(merged, self.object)
        merged["audio"] = _known(merged["audio"], self.object["audio"])
        for part in ("input", "output"):
            merged["audio"][part] = _known(merged["audio"][part], self.object["audio"][part])
        if len(json.dumps(merged, ensure_ascii=False)) > _MOST_CHARS:
            raise VoiceError("invalid_event", f"a session has at most {_MOST_CHARS} characters", param="session")
        self.object, self._parsed = merged, parsed

    def settings(self) -> SessionSettings:
        """What the session object asks of us."""
        session, audio, included = self._parsed, self._parsed.audio, set(self._parsed.include or ())
        detection = audio.input.turn_detection
        limit = session.max_output_tokens
        language = audio.input.transcription.code if audio.input.transcription else None
        base = SessionSettings.of(self._config)
        return replace(
            base,
            instructions=session.instructions,
            voice=Voice(voice_name(audio.output.voice, self._config), min(2.0, max(0.5, audio.output.speed))),
            language=language or base.language,
            spoken=session.output_modalities == ["audio"],
            max_tokens=self._config.reply.max_tokens if limit == "inf" else limit,
            rules=self._rules(detection),
            create_response=detection.create_response if detection else False,
            ducks="output.duck" in included,
            partials="input.partials" in included,
            metrics="turn.metrics" in included,
        )

    def _rules(self, detection: _ServerVad | _SemanticVad | None) -> TurnRules | None:
        turns, vad = self._config.turns, self._config.vad
        if detection is None:
            return None
        if isinstance(detection, _SemanticVad):
            eagerness = "medium" if detection.eagerness == "auto" else detection.eagerness
            return TurnRules.semantic(turns, vad, eagerness, interrupts=detection.interrupt_response)
        return TurnRules.silence(
            turns,
            vad,
            threshold=detection.threshold,
            prefix_ms=detection.prefix_padding_ms,
            silence_ms=detection.silence_duration_ms,
            interrupts=detection.interrupt_response,
        )


def voice_name(asked: str, config: Config) -> str:
    """The voice that a client means; a name from elsewhere gets the default voice.

    Raises VoiceError("unknown_voice") for one that looks like ours and is not: a typing error.
    """
    try:
        return resolve(asked)
    except VoiceError:
        prefixes = {name[:3] for name in VOICES}
        if asked[:3].lower() in prefixes:
            raise
        return config.voice.name


def _check_language(transcription: _Transcription | None, languages: frozenset[str]) -> None:
    code = transcription.code if transcription is not None else None
    if code not in (None, "auto", *languages):
        heard = ", ".join(sorted(languages))
        raise VoiceError(
            "invalid_event",
            f"{code!r} is not heard; auto and these are: {heard}",
            param="session.audio.input.transcription.language",
        )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and _same_kind(before, value):
            merged[key] = _merge(before, value)
        else:
            merged[key] = value
    return merged


def _known(merged: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what we have never heard of: the session must not grow by whatever a client makes up."""
    return {key: value for key, value in merged.items() if key in fields}


def _same_kind(before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Another kind of turn detection or format starts from that kind's own defaults."""
    return "type" not in value or "type" not in before or before["type"] == value["type"]
