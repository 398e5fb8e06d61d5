"""What happens in a conversation, in the order in which a listener sees it.

Every event carries the turn that caused it, so that output of an older turn can be told and dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from voxtral_voice.history import Item
from voxtral_voice.types import Pcm

ReplyStatus = Literal["completed", "cancelled", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    turn: int
    """Counts from 1; output whose turn is over is dropped. A reply that the client cancelled, or that the user spoke
    over in the middle of a turn, leaves one number unused."""


@dataclass(frozen=True, slots=True)
class UserStarted(Event):
    item_id: str
    at_ms: int
    """On the client's own sample clock, the prefix included."""


@dataclass(frozen=True, slots=True)
class UserStopped(Event):
    item_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Committed(Event):
    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class TimeoutTriggered(Event):
    """Nothing has been said since the last reply was heard out: the silence is committed and answered."""

    item_id: str
    start_ms: int
    """On the client's own sample clock."""
    end_ms: int


@dataclass(frozen=True, slots=True)
class BufferCleared(Event):
    pass


@dataclass(frozen=True, slots=True)
class Configured(Event):
    """From here on the session is as the client asked. Only for clients that want to hear it."""

    echo: dict[str, Any]
    """The door's own words for it, handed back."""


@dataclass(frozen=True, slots=True)
class ItemAdded(Event):
    """A complete item joined the conversation."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemDeleted(Event):
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated(Event):
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ItemRetrieved(Event):
    item: Item


@dataclass(frozen=True, slots=True)
class Transcribed(Event):
    """The words of a committed user item."""

    item_id: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TranscriptFailed(Event):
    """The words of a committed user item could not be written down; nobody tries again."""

    item_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PartialTranscript(Event):
    """The words of the user's turn so far; may still change. Only for clients that asked for it."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplyStarted(Event):
    response_id: str
    spoken: bool
    """As asked; `ReplyBegun` says what it became."""
    metadata: dict[str, str] | None = None
    """The client's own, handed back."""
    asked: dict[str, Any] | None = None
    """What is otherwise than in the session, in the door's own words, handed back."""
    aside: bool = False
    """Out of band: the conversation knows nothing of it."""


@dataclass(frozen=True, slots=True)
class ReplyBegun(Event):
    """The reply's item exists; its first words or sound follow."""

    response_id: str
    item_id: str
    previous_item_id: str | None
    spoken: bool
    """False for a reply in text alone."""


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """Words of the reply, in step with the voice; of a written reply, as they come."""

    response_id: str
    item_id: str
    text: str
    kept: bool = False
    """Written, or out of band: no interruption takes it back."""


@dataclass(frozen=True, slots=True)
class ReplyAudio(Event):
    """Sound of the reply: a packet of 20-200 ms."""

    response_id: str
    item_id: str
    pcm: Pcm
    """Shape [samples], 24 kHz."""
    kept: bool = False
    """As in `ReplyText`."""


@dataclass(frozen=True, slots=True)
class Usage:
    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReplyDone(Event):
    response_id: str
    item: Item | None
    """What was said, as it ended; None when nothing was."""
    status: ReplyStatus
    reason: str
    """Empty, "turn_detected", "client_cancelled", "max_output_tokens", or an error code."""
    message: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Ducked(Event):
    """The user may be interrupting: turn the reply down. Only for clients that asked for it."""


@dataclass(frozen=True, slots=True)
class Unducked(Event):
    pass


@dataclass(frozen=True, slots=True)
class TurnMetrics(Event):
    """Where the time of a turn went. Only for clients that asked for it."""

    response_id: str
    marks_ms: dict[str, float] = field(default_factory=dict)
    """Stage to milliseconds after `speech_end`."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """Something went wrong; the conversation goes on."""

    code: str
    message: str
    event_id: str | None = None
    """The client event to blame, where there is one."""
    param: str | None = None
