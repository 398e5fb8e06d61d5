"""The Realtime API on a socket: client events -> session, session's events -> client. Nothing is decided in here."""

from __future__ import annotations

from starlette.websockets import WebSocket

from voxtral_voice import audio
from voxtral_voice.config import Config
from voxtral_voice.events import Event
from voxtral_voice.history import Item, new_id
from voxtral_voice.server import client_events as client
from voxtral_voice.server.server_events import Message, Translator
from voxtral_voice.server.wire_session import MODEL, WireSession
from voxtral_voice.session import Session
from voxtral_voice.settings import Overrides, SessionSettings
from voxtral_voice.types import HEAR_HZ, AudioPart, TextPart, VoiceError


class RealtimeWire:
    """One client's: a `sockets.Wire`."""

    def __init__(self, socket: WebSocket, config: Config) -> None:
        self._wire = WireSession(config, socket.query_params.get("model") or MODEL)
        self._translator = Translator(self._wire.object)
        self._resampler = audio.Resampler(self._wire.input_hz, HEAR_HZ)

    @property
    def session_id(self) -> str:
        return self._wire.id

    @property
    def input_hz(self) -> int:
        return self._wire.input_hz

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
                pcm = audio.from_pcm16(client.audio_bytes(event.audio))
                session.hear(self._resampler.push(pcm))
            case client.SessionUpdate():
                self._update(session, event)
            case client.Commit():
                session.commit(event.event_id)
            case client.Clear():
                session.clear(event.event_id)
            case client.ItemCreate():
                session.add(self._item(event.item), event.previous_item_id, event.event_id)
            case client.ItemRetrieve():
                session.retrieve(event.item_id, event.event_id)
            case client.ItemDelete():
                session.delete(event.item_id, event.event_id)
            case client.ItemTruncate():
                session.truncate(event.item_id, event.content_index, event.audio_end_ms, event.event_id)
            case client.ResponseCreate():
                session.respond(_overrides(event.response), event.event_id)
            case client.ResponseCancel():
                session.cancel(event.response_id, event.event_id)

    def _update(self, session: Session, event: client.SessionUpdate) -> None:
        before = self._wire.input_hz
        self._wire.update(event.session, session.languages)
        if self._wire.input_hz != before:
            self._resampler = audio.Resampler(self._wire.input_hz, HEAR_HZ)
        session.configure(self._wire.settings(), self._wire.object, event.event_id)

    def _item(self, item: client.ItemIn) -> Item:
        """The client's item as ours. Raises VoiceError when its content makes no sense."""
        item_id = item.id or new_id("item")
        sounds = [content for content in item.content if content.audio is not None]
        if sounds and item.role == "user":
            data = b"".join(client.audio_bytes(content.audio or "") for content in sounds)
            if not data or any(content.text for content in item.content):
                raise VoiceError(
                    "invalid_event", "an item is either text or sound, and not empty", param="item.content"
                )
            pcm = audio.resample(audio.from_pcm16(data), self._wire.input_hz, HEAR_HZ)
            words = " ".join(content.transcript for content in sounds if content.transcript) or None
            return Item(item_id, "user", AudioPart(pcm, words), spoken=True)
        words = " ".join(part for content in item.content if (part := content.text or content.transcript))
        if not words:
            raise VoiceError("invalid_event", "the item has neither text nor audio", param="item.content")
        return Item(item_id, item.role, TextPart(words), spoken=any("audio" in c.type for c in item.content))


def _overrides(response: client.ResponseIn) -> Overrides:
    limit, modalities = response.max_output_tokens, response.output_modalities
    return Overrides(
        instructions=response.instructions,
        spoken=None if modalities is None else modalities == ["audio"],
        max_tokens=limit if isinstance(limit, int) else None,
        metadata=response.metadata,
    )
