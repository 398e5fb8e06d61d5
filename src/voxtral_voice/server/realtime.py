"""The Realtime API on a socket: client events -> session, session's events -> client. Nothing is decided in here."""

from __future__ import annotations

from starlette.websockets import WebSocket

from voxtral_voice.config import Config
from voxtral_voice.events import Event
from voxtral_voice.server import client_events as client
from voxtral_voice.server.items import item_of
from voxtral_voice.server.response_messages import Message
from voxtral_voice.server.server_events import Translator
from voxtral_voice.server.sound import Incoming
from voxtral_voice.server.wire_session import MODEL, WireSession
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import VoiceError


class RealtimeWire:
    """One client's: a `sockets.Wire`."""

    def __init__(self, socket: WebSocket, config: Config) -> None:
        asked = socket.query_params
        self._wire = WireSession(
            config,
            asked.get("model") or MODEL,
            "transcription" if asked.get("intent") == "transcription" else "realtime",
        )
        self._translator = Translator(self._wire.object)
        self._microphone = Incoming(self._wire.input)

    @property
    def session_id(self) -> str:
        return self._wire.id

    @property
    def input_hz(self) -> int:
        """As if the sound came in 16-bit samples."""
        return self._wire.input.hz * self._wire.input.sample_bytes // 2

    def settings(self) -> SessionSettings:
        return self._wire.settings()

    def created(self) -> Message:
        return self._translator.created()

    def translate(self, event: Event) -> list[Message]:
        return self._translator.translate(event)

    def error(self, reason: VoiceError, *, fault: bool) -> Message:
        event_id = reason.event_id if isinstance(reason, client.InvalidEvent) else None
        return self._translator.error(reason.code, reason.message, event_id, reason.param, fault=fault)

    def obey(self, session: Session, message: str | bytes) -> None:
        """Raises InvalidEvent for what cannot be done."""
        if isinstance(message, bytes):
            raise client.InvalidEvent("invalid_event", "events are JSON text; audio goes in them as base64")
        event = client.parse(message)
        try:
            self._obey(session, event)
        except VoiceError as error:
            raise client.InvalidEvent(error.code, error.message, event.event_id, error.param) from None

    def _obey(self, session: Session, event: client.ClientEvent) -> None:
        """Raises VoiceError for what cannot be done."""
        match event:
            case client.Append():
                session.hear(self._microphone.push(client.audio_bytes(event.audio)))
            case client.SessionUpdate():
                self._update(session, event)
            case client.Commit():
                session.commit(event.event_id)
            case client.Clear():
                session.clear(event.event_id)
            case client.ItemCreate():
                session.add(item_of(event.item, self._wire.input), event.previous_item_id, event.event_id)
            case client.ItemRetrieve():
                session.retrieve(event.item_id, event.event_id)
            case client.ItemDelete():
                session.delete(event.item_id, event.event_id)
            case client.ItemTruncate():
                session.truncate(event.item_id, event.content_index, event.audio_end_ms, event.event_id)
            case client.ResponseCreate():
                session.respond(self._wire.overrides(event.response), event.event_id)
            case client.ResponseCancel():
                session.cancel(event.response_id, event.event_id)

    def _update(self, session: Session, event: client.SessionUpdate) -> None:
        before = self._wire.input
        self._wire.update(event.session, session.languages)
        if self._wire.input != before:
            self._microphone = Incoming(self._wire.input)
        session.configure(self._wire.settings(), self._wire.object, event.event_id)
