"""What happens in a session -> the Realtime API's server events, in the order its clients were built for."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from voxtral_voice import audio, events
from voxtral_voice.events import Event
from voxtral_voice.history import Item, new_id
from voxtral_voice.types import SPEAK_HZ, AudioPart, Pcm

Message = dict[str, Any]

_NO_SOUND: Pcm = np.zeros(0, np.float32)
_SHORTEST_MS = 20


def item_object(item: Item) -> Message:
    """An item as the API shows it."""
    if isinstance(item.part, AudioPart) or (item.spoken and item.role == "user"):
        content = {"type": "input_audio", "transcript": item.part.text}
    elif item.role == "assistant" and item.spoken:
        content = {"type": "output_audio", "transcript": item.text}
    else:
        content = {"type": "output_text" if item.role == "assistant" else "input_text", "text": item.text}
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": item.status,
        "role": item.role,
        "content": [content],
    }


class Translator:
    """One client's; remembers the response in progress and the session as the client has been told of it."""

    def __init__(self, session: Message) -> None:
        """`session`: the object of `session.created`."""
        self._session = session
        self._conversation_id = new_id("conv")
        self._response: Message | None = None  # as response.created told it
        self._item_id: str | None = None  # of its output, once begun
        self._previous_item_id: str | None = None
        self._spoken = True
        self._transcript = ""
        self._resampler = audio.Resampler(SPEAK_HZ, SPEAK_HZ)
        self._partial = ("", "")  # the user's item, and its words sent so far

    def created(self) -> Message:
        """The first event."""
        return _message("session.created", session=self._session)

    def error(
        self, code: str, message: str, event_id: str | None = None, param: str | None = None, *, fault: bool = False
    ) -> Message:
        kind = "server_error" if fault else "invalid_request_error"
        error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
        return _message("error", error=error)

    def translate(self, event: Event) -> list[Message]:
        about: Message
        match event:
            case events.UserStarted():
                return [
                    _message("input_audio_buffer.speech_started", item_id=event.item_id, audio_start_ms=event.at_ms)
                ]
            case events.UserStopped():
                return [_message("input_audio_buffer.speech_stopped", item_id=event.item_id, audio_end_ms=event.at_ms)]
            case events.Committed():
                previous = event.previous_item_id
                return [_message("input_audio_buffer.committed", item_id=event.item_id, previous_item_id=previous)]
            case events.BufferCleared():
                return [_message("input_audio_buffer.cleared")]
            case events.Configured():
                self._session = event.echo
                return [_message("session.updated", session=event.echo)]
            case events.ItemAdded():
                about = {"previous_item_id": event.previous_item_id, "item": item_object(event.item)}
                return [_message("conversation.item.added", **about), _message("conversation.item.done", **about)]
            case events.ItemRetrieved():
                return [_message("conversation.item.retrieved", item=item_object(event.item))]
            case events.ItemDeleted():
                return [_message("conversation.item.deleted", item_id=event.item_id)]
            case events.ItemTruncated():
                about = {"content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
                return [_message("conversation.item.truncated", item_id=event.item_id, **about)]
            case events.PartialTranscript():
                return self._partially(event)
            case events.Transcribed():
                usage = {"type": "duration", "seconds": round(event.seconds, 3)}
                about = {"item_id": event.item_id, "content_index": 0, "transcript": event.text, "usage": usage}
                return [_message("conversation.item.input_audio_transcription.completed", **about)]
            case events.Ducked():
                return [_message("voxtral.output.duck")]
            case events.Unducked():
                return [_message("voxtral.output.unduck")]
            case events.TurnMetrics():
                about = {"response_id": event.response_id, "turn": event.turn, "marks_ms": event.marks_ms}
                return [_message("voxtral.turn.metrics", **about)]
            case events.Failed():
                fault = event.code in ("internal_error", "out_of_memory", "model_failed")
                return [self.error(event.code, event.message, event.event_id, event.param, fault=fault)]
            case _:
                return self._reply(event)

    def _reply(self, event: Event) -> list[Message]:
        match event:
            case events.ReplyStarted():
                return self._started(event)
            case events.ReplyBegun():
                return self._begun(event)
            case events.ReplyText():
                self._transcript += event.text
                kind = "response.output_audio_transcript.delta" if self._spoken else "response.output_text.delta"
                return [self._part(kind, delta=event.text)]
            case events.ReplyAudio():
                return self._sound(self._resampler.push(event.pcm))
            case events.ReplyDone():
                return self._done(event)
            case _:
                raise TypeError(f"no translation for {type(event).__name__}")

    @property
    def _output_hz(self) -> int:
        rate: int = self._session["audio"]["output"]["format"]["rate"]
        return rate

    def _started(self, event: events.ReplyStarted) -> list[Message]:
        session = self._session
        output = session["audio"]["output"]
        self._response = {
            "id": event.response_id,
            "object": "realtime.response",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "conversation_id": self._conversation_id,
            "output_modalities": ["audio"] if event.spoken else ["text"],
            "max_output_tokens": session["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": None,
            "metadata": event.metadata,
        }
        self._item_id, self._transcript = None, ""
        self._resampler = audio.Resampler(SPEAK_HZ, self._output_hz)
        return [_message("response.created", response=dict(self._response))]

    def _begun(self, event: events.ReplyBegun) -> list[Message]:
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
            _message("response.output_item.added", response_id=event.response_id, output_index=0, item=item),
            _message("conversation.item.added", previous_item_id=event.previous_item_id, item=item),
            self._part("response.content_part.added", part=part),
        ]

    def _done(self, event: events.ReplyDone) -> list[Message]:
        response = {**(self._response or {}), "status": event.status, "usage": _usage(event.usage)}
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
        self._response = self._item_id = None
        return [*messages, _message("response.done", response=response)]

    def _closing(self, event: events.ReplyDone, item: Message) -> list[Message]:
        if self._spoken:
            # Of an interrupted reply nothing more is sent, not even what the resampler still holds.
            rest = _NO_SOUND if event.status == "cancelled" else self._resampler.push(_NO_SOUND, last=True)
            if len(rest):  # a crumb: silence makes it a packet as long as a client may expect
                rest = np.pad(rest, (0, max(0, self._output_hz * _SHORTEST_MS // 1000 - len(rest))))
            said = [
                *self._sound(rest),
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
            _message("conversation.item.done", previous_item_id=self._previous_item_id, item=item),
            _message("response.output_item.done", response_id=event.response_id, output_index=0, item=item),
        ]

    def _sound(self, pcm: Pcm) -> list[Message]:
        if not len(pcm):
            return []
        delta = base64.b64encode(audio.to_pcm16(pcm)).decode("ascii")
        return [self._part("response.output_audio.delta", delta=delta)]

    def _part(self, kind: str, **fields: Any) -> Message:
        assert self._response is not None
        where = {"response_id": self._response["id"], "item_id": self._item_id, "output_index": 0, "content_index": 0}
        return _message(kind, **where, **fields)

    def _partially(self, event: events.PartialTranscript) -> list[Message]:
        """A delta while the words only grow; a replaced tail is for those who asked for partials alone."""
        before = self._partial[1] if self._partial[0] == event.item_id else ""
        self._partial = (event.item_id, event.text)
        if event.text.startswith(before):
            delta = event.text[len(before) :]
            about = {"item_id": event.item_id, "content_index": 0, "delta": delta}
            return [_message("conversation.item.input_audio_transcription.delta", **about)] if delta else []
        return [_message("voxtral.input.partial", item_id=event.item_id, text=event.text)]


def _usage(usage: events.Usage) -> Message:
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


def _message(kind: str, **fields: Any) -> Message:
    return {"type": kind, "event_id": new_id("event"), **fields}
