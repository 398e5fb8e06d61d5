"""One response as the Realtime API tells it: from response.created to response.done."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from voxtral_voice.events import ReplyAudio, ReplyBegun, ReplyDone, ReplyStarted, ReplyText, Usage
from voxtral_voice.history import new_id
from voxtral_voice.server.items import item_object
from voxtral_voice.server.sound import Format, Outgoing
from voxtral_voice.types import Pcm

Message = dict[str, Any]

_NO_SOUND: Pcm = np.zeros(0, np.float32)
_SHORTEST_MS = 20


def message(kind: str, **fields: Any) -> Message:
    """A server event."""
    return {"type": kind, "event_id": new_id("event"), **fields}


class ResponseMessages:
    """Of a response out of band no `conversation.item` is told: it is in no conversation."""

    def __init__(self, event: ReplyStarted, session: Message, conversation_id: str) -> None:
        """`session`: as the client has been told of it; `event.asked` is what this one does otherwise."""
        output = session["audio"]["output"]
        voice = output["voice"] if isinstance(output["voice"], str) else output["voice"]["id"]
        about = {
            "max_output_tokens": session["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": voice}},
            "metadata": event.metadata,
            **(event.asked or {}),
        }
        self._aside = event.aside
        self._response = {
            "id": event.response_id,
            "object": "realtime.response",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "conversation_id": None if event.aside else conversation_id,
            "output_modalities": ["audio"] if event.spoken else ["text"],
            **about,
            "usage": None,
        }
        self._held = _NO_SOUND  # too short to go alone
        self._sound = Outgoing(Format.of(about["audio"]["output"]["format"]))
        self._item_id: str | None = None  # of its output, once begun
        self._previous_item_id: str | None = None
        self._spoken = True
        self._transcript = ""

    def created(self) -> Message:
        return message("response.created", response=dict(self._response))

    def begun(self, event: ReplyBegun) -> list[Message]:
        self._item_id, self._previous_item_id, self._spoken = event.item_id, event.previous_item_id, event.spoken
        item = {
            "id": event.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        part = {"type": "audio", "transcript": ""} if event.spoken else {"type": "text", "text": ""}
        return [
            message("response.output_item.added", response_id=event.response_id, output_index=0, item=item),
            *self._in_conversation("conversation.item.added", item),
            self._part("response.content_part.added", part=part),
        ]

    def words(self, event: ReplyText) -> list[Message]:
        self._transcript += event.text
        kind = "response.output_audio_transcript.delta" if self._spoken else "response.output_text.delta"
        return [self._part(kind, delta=event.text)]

    def sound(self, event: ReplyAudio) -> list[Message]:
        pcm = np.concatenate([self._held, self._sound.push(event.pcm)])
        if len(pcm) < self._shortest:
            self._held = pcm
            return []
        self._held = _NO_SOUND
        return self._delta(pcm)

    def done(self, event: ReplyDone) -> list[Message]:
        response = {**self._response, "status": event.status, "usage": _usage(event.usage)}
        if event.status == "failed":
            error = {"type": "server_error", "code": event.reason}
            response["status_details"] = {"type": "failed", "error": {**error, "message": event.message}}
        elif event.status != "completed":
            response["status_details"] = {"type": event.status, "reason": event.reason}
        self._transcript = self._transcript.strip()
        messages: list[Message] = []
        if self._item_id is not None and event.item is not None:
            item = item_object(event.item)
            response["output"] = [item]
            messages = self._closing(event, item)
        return [*messages, message("response.done", response=response)]

    def _closing(self, event: ReplyDone, item: Message) -> list[Message]:
        if self._spoken:
            # Of an interrupted reply nothing more is sent, not even what the resampler still holds.
            rest = _NO_SOUND
            if event.status != "cancelled":
                rest = np.concatenate([self._held, self._sound.push(_NO_SOUND, last=True)])
            if len(rest):  # a crumb: silence makes it a packet as long as a client may expect
                rest = np.pad(rest, (0, max(0, self._shortest - len(rest))))
            said = [
                *self._delta(rest),
                self._part("response.output_audio.done"),
                self._part("response.output_audio_transcript.done", transcript=self._transcript),
                self._part("response.content_part.done", part={"type": "audio", "transcript": self._transcript}),
            ]
        else:
            said = [
                self._part("response.output_text.done", text=self._transcript),
                self._part("response.content_part.done", part={"type": "text", "text": self._transcript}),
            ]
        return [
            *said,
            *self._in_conversation("conversation.item.done", item),
            message("response.output_item.done", response_id=event.response_id, output_index=0, item=item),
        ]

    @property
    def _shortest(self) -> int:
        """Samples of the shortest delta, at the format's rate."""
        return self._sound.format.hz * _SHORTEST_MS // 1000

    def _in_conversation(self, kind: str, item: Message) -> list[Message]:
        return [] if self._aside else [message(kind, previous_item_id=self._previous_item_id, item=item)]

    def _delta(self, pcm: Pcm) -> list[Message]:
        """`pcm`: at the format's own rate."""
        if not len(pcm):
            return []
        delta = base64.b64encode(self._sound.format.encode(pcm)).decode("ascii")
        return [self._part("response.output_audio.delta", delta=delta)]

    def _part(self, kind: str, **fields: Any) -> Message:
        where = {"response_id": self._response["id"], "item_id": self._item_id, "output_index": 0, "content_index": 0}
        return message(kind, **where, **fields)


def _usage(usage: Usage) -> Message:
    read, written = usage.input_text_tokens + usage.input_audio_tokens, usage.output_text_tokens
    written += usage.output_audio_tokens
    return {
        "total_tokens": read + written,
        "input_tokens": read,
        "output_tokens": written,
        "input_token_details": {
            "text_tokens": usage.input_text_tokens,
            "audio_tokens": usage.input_audio_tokens,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": usage.output_text_tokens,
            "audio_tokens": usage.output_audio_tokens,
        },
    }
