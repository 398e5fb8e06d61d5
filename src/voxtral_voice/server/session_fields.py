"""What a Realtime client may set in its session, and within which limits."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from voxtral_voice import g711
from voxtral_voice.server.sound import Format

_LANGUAGE = r"^(auto|[a-z]{2,3})([-_].*)?$"


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Pcm(Part):
    type: Literal["audio/pcm"]
    rate: Literal[16000, 24000] = 24000

    @property
    def format(self) -> Format:
        return Format(self.type, self.rate)


class G711(Part):
    type: Literal["audio/pcmu", "audio/pcma"]

    @property
    def format(self) -> Format:
        return Format(self.type, g711.HZ)


AnyFormat = Annotated[Pcm | G711, Field(discriminator="type")]


class CustomVoice(Part):
    id: str = Field(min_length=1, max_length=64)


class ServerVad(Part):
    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=10_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=60_000)
    idle_timeout_ms: int | None = Field(default=None, ge=500, le=600_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Part):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Part):
    language: str | None = Field(default=None, pattern=_LANGUAGE)

    @property
    def code(self) -> str | None:
        """ISO 639, without the region; "auto", or None where the client has not said."""
        return re.split("[-_]", self.language)[0] if self.language else None


class Input(Part):
    format: AnyFormat
    transcription: Transcription | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = None


class Output(Part):
    format: AnyFormat
    voice: Annotated[str, Field(min_length=1, max_length=64)] | CustomVoice
    speed: float = Field(ge=0.25, le=4.0)


class Audio(Part):
    input: Input
    output: Output


class SessionFields(Part):
    type: Literal["realtime", "transcription"]
    output_modalities: list[Literal["audio", "text"]] = Field(min_length=1, max_length=1)
    instructions: str = Field(max_length=65_536)
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
    include: list[str] | None = None
    audio: Audio
