"""What a Realtime client may send: JSON text -> typed events. Unknown fields are ignored, as OpenAI's server does."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json

from voxtral_voice.types import VoiceError

Id = Annotated[str, Field(min_length=1, max_length=512)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
"""As OpenAI limits it."""


class InvalidEvent(VoiceError):
    """A message that cannot be followed. Carries the client's event_id where it could be read."""

    def __init__(self, code: str, message: str, event_id: str | None = None, param: str | None = None) -> None:
        super().__init__(code, message, param=param)
        self.event_id = event_id


class _Base(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Event(_Base):
    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(_Event):
    session: dict[str, JsonValue]  # its numbers are finite: 1e400 would be echoed as Infinity, which is not JSON


class Append(_Event):
    audio: str


class Commit(_Event):
    pass


class Clear(_Event):
    pass


class Content(_Base):
    type: Literal["input_text", "input_audio", "output_text", "output_audio", "text", "audio"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None


class ItemIn(_Base):
    id: Id | None = None
    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: list[Content] = Field(min_length=1, max_length=64)


class ItemCreate(_Event):
    previous_item_id: Id | None = None
    item: ItemIn


class ItemRetrieve(_Event):
    item_id: Id


class ItemDelete(_Event):
    item_id: Id


class ItemTruncate(_Event):
    item_id: Id
    content_index: int = Field(default=0, ge=0, le=64)
    audio_end_ms: int = Field(ge=0, le=2**53)


class Reference(_Base):
    """An item of the conversation, by its id."""

    type: Literal["item_reference"]
    id: Id


class OutputIn(_Base):
    format: dict[str, JsonValue] | None = None
    voice: JsonValue = None
    speed: float | None = None


class AudioIn(_Base):
    output: OutputIn | None = None


class ResponseIn(_Base):
    """What one response does otherwise; None: as the session."""

    instructions: str | None = Field(default=None, max_length=65_536)
    output_modalities: list[Literal["audio", "text"]] | None = Field(default=None, min_length=1, max_length=1)
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto", "none"] | None = None
    input: list[Annotated[ItemIn | Reference, Field(discriminator="type")]] | None = Field(
        default=None, max_length=1000
    )
    audio: AudioIn | None = None


class ResponseCreate(_Event):
    response: ResponseIn = ResponseIn()


class ResponseCancel(_Event):
    response_id: Id | None = None


ClientEvent = (
    SessionUpdate
    | Append
    | Commit
    | Clear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)

_TYPES: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": Clear,
    "conversation.item.create": ItemCreate,
    "conversation.item.retrieve": ItemRetrieve,
    "conversation.item.delete": ItemDelete,
    "conversation.item.truncate": ItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}


def parse(text: str | bytes) -> ClientEvent:
    """Raises InvalidEvent with code invalid_json or invalid_event."""
    try:
        data = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidEvent("invalid_json", f"this is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidEvent("invalid_event", "an event is a JSON object with a `type`")
    event_id = data.get("event_id")
    event_id = event_id[:512] if isinstance(event_id, str) else None
    kind = data.get("type")
    model = _TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise InvalidEvent("invalid_event", f"unknown event type {str(kind)[:100]!r}", event_id, "type")
    if data.get("response", ...) is None:  # `"response": null` means the same as leaving it out
        del data["response"]
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"])
        raise InvalidEvent("invalid_event", f"{param}: {first['msg']}", event_id, param) from None


def audio_bytes(text: str) -> bytes:
    """Base64 to bytes, strictly. Raises VoiceError("invalid_audio")."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VoiceError("invalid_audio", f"audio is not base64: {error}", param="audio") from None
