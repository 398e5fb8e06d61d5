"""What happens in a session -> the Realtime API's server events, in the order its clients were built for."""

from __future__ import annotations

from voxtral_voice import events
from voxtral_voice.events import Event
from voxtral_voice.history import new_id
from voxtral_voice.server.items import item_object
from voxtral_voice.server.response_messages import Message, ResponseMessages, message
from voxtral_voice.server.wire_session import shown


class Translator:
    """One client's; remembers the responses in progress and the session as the client has been told of it."""

    def __init__(self, session: Message) -> None:
        """`session`: the whole object, as `WireSession` holds it."""
        self._session = session
        self._conversation_id = new_id("conv")
        self._responses: dict[str, ResponseMessages] = {}
        self._partial = ("", "")  # the user's item, and its words sent so far

    def created(self) -> Message:
        """The first event."""
        return message("session.created", session=shown(self._session))

    def error(
        self, code: str, what: str, event_id: str | None = None, param: str | None = None, *, fault: bool = False
    ) -> Message:
        kind = "server_error" if fault else "invalid_request_error"
        error = {"type": kind, "code": code, "message": what, "param": param, "event_id": event_id}
        return message("error", error=error)

    def translate(self, event: Event) -> list[Message]:
        about: Message
        match event:
            case events.UserStarted():
                return [message("input_audio_buffer.speech_started", item_id=event.item_id, audio_start_ms=event.at_ms)]
            case events.UserStopped():
                return [message("input_audio_buffer.speech_stopped", item_id=event.item_id, audio_end_ms=event.at_ms)]
            case events.Committed():
                previous = event.previous_item_id
                return [message("input_audio_buffer.committed", item_id=event.item_id, previous_item_id=previous)]
            case events.TimeoutTriggered():
                about = {"audio_start_ms": event.start_ms, "audio_end_ms": event.end_ms}
                return [message("input_audio_buffer.timeout_triggered", item_id=event.item_id, **about)]
            case events.BufferCleared():
                return [message("input_audio_buffer.cleared")]
            case events.Configured():
                self._session = event.echo
                return [message("session.updated", session=shown(event.echo))]
            case events.ItemAdded():
                about = {"previous_item_id": event.previous_item_id, "item": item_object(event.item)}
                return [message("conversation.item.added", **about), message("conversation.item.done", **about)]
            case events.ItemRetrieved():
                return [message("conversation.item.retrieved", item=item_object(event.item))]
            case events.ItemDeleted():
                return [message("conversation.item.deleted", item_id=event.item_id)]
            case events.ItemTruncated():
                about = {"content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
                return [message("conversation.item.truncated", item_id=event.item_id, **about)]
            case events.PartialTranscript():
                return self._partially(event)
            case events.Transcribed():
                usage = {"type": "duration", "seconds": round(event.seconds, 3)}
                about = {"item_id": event.item_id, "content_index": 0, "transcript": event.text, "usage": usage}
                return [message("conversation.item.input_audio_transcription.completed", **about)]
            case events.TranscriptFailed():
                error = {"type": "server_error", "code": event.code, "message": event.message, "param": None}
                about = {"item_id": event.item_id, "content_index": 0, "error": error}
                return [message("conversation.item.input_audio_transcription.failed", **about)]
            case events.Ducked():
                return [message("voxtral.output.duck")]
            case events.Unducked():
                return [message("voxtral.output.unduck")]
            case events.TurnMetrics():
                about = {"response_id": event.response_id, "turn": event.turn, "marks_ms": event.marks_ms}
                return [message("voxtral.turn.metrics", **about)]
            case events.Failed():
                fault = event.code in ("internal_error", "out_of_memory", "model_failed")
                return [self.error(event.code, event.message, event.event_id, event.param, fault=fault)]
            case _:
                return self._reply(event)

    def _reply(self, event: Event) -> list[Message]:
        match event:
            case events.ReplyStarted():
                response = ResponseMessages(event, self._session, self._conversation_id)
                self._responses[event.response_id] = response
                return [response.created()]
            case events.ReplyBegun():
                return self._responses[event.response_id].begun(event)
            case events.ReplyText():
                return self._responses[event.response_id].words(event)
            case events.ReplyAudio():
                return self._responses[event.response_id].sound(event)
            case events.ReplyDone():
                return self._responses.pop(event.response_id).done(event)
            case _:
                raise TypeError(f"no translation for {type(event).__name__}")

    def _partially(self, event: events.PartialTranscript) -> list[Message]:
        """A delta while the words only grow; a replaced tail is for those who asked for partials alone."""
        before = self._partial[1] if self._partial[0] == event.item_id else ""
        self._partial = (event.item_id, event.text)
        if event.text.startswith(before):
            delta = event.text[len(before) :]
            about = {"item_id": event.item_id, "content_index": 0, "delta": delta}
            return [message("conversation.item.input_audio_transcription.delta", **about)] if delta else []
        return [message("voxtral.input.partial", item_id=event.item_id, text=event.text)]
