"""The Realtime socket: client events -> session, session's events -> client. Nothing is decided in here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voxtral_voice import audio, logs
from voxtral_voice.config import Config
from voxtral_voice.history import Item, new_id
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server import client_events as client
from voxtral_voice.server.door import Admission
from voxtral_voice.server.ingest import Ingest
from voxtral_voice.server.server_events import Message, Translator
from voxtral_voice.server.wire_session import MODEL, WireSession
from voxtral_voice.session import Session
from voxtral_voice.settings import Overrides
from voxtral_voice.types import HEAR_HZ, AudioPart, TextPart, VoiceError

log = logging.getLogger(__name__)

CLOSE_OVER = 1000
CLOSE_KEY = 1008
CLOSE_FAULT = 1011
CLOSE_FULL = 1013

_FAREWELL_S = 1.0
_BREATH_S = 0.1  # the socket is not read after what came too fast


class RealtimeDoor:
    """All Realtime connections of the process."""

    def __init__(self, manager: ModelManager, config: Config, metrics: Metrics, admission: Admission) -> None:
        self._admission = admission
        self._manager = manager
        self._config = config
        self._metrics = metrics
        self._connections: set[Connection] = set()

    @property
    def active(self) -> int:
        return len(self._connections)

    async def serve(self, socket: WebSocket) -> None:
        """One connection, from handshake to close."""
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
        connection = Connection(socket, self._config, socket.query_params.get("model") or MODEL)
        if refusal := self._admission.refusal(socket.scope):
            self._metrics.errors.labels(refusal.code).inc()
            await connection.refuse(refusal, CLOSE_KEY)
            return
        if refusal := self._refusal():
            await connection.refuse(refusal, CLOSE_FULL)
            return
        self._connections.add(connection)
        try:
            await connection.run(self._manager, self._metrics)
        finally:
            self._connections.discard(connection)

    async def drain(self) -> None:
        """Tell everybody that the server goes away."""
        await asyncio.gather(*(connection.leave(1001, "the server is going away") for connection in self._connections))

    def _refusal(self) -> VoiceError | None:
        if self.active >= self._config.limits.sessions:
            self._metrics.errors.labels("at_capacity").inc()
            return VoiceError("at_capacity", f"all {self._config.limits.sessions} conversations are taken: try again")
        return self._manager.refusal()


class Connection:
    """One client."""

    def __init__(self, socket: WebSocket, config: Config, model: str) -> None:
        self._socket = socket
        self._config = config
        self._wire = WireSession(config, model)
        self._translator = Translator(self._wire.object)
        self._resampler = audio.Resampler(self._wire.input_hz, HEAR_HZ)
        self._sending = asyncio.Lock()
        limits, now = config.limits, asyncio.get_running_loop().time()
        self._ingest = Ingest(limits.ingest_rate, limits.ingest_burst_s, now)
        self._happened_at = now

    async def refuse(self, reason: VoiceError, close_code: int) -> None:
        """A refused handshake shows a browser only 1006; an error event says why."""
        fault = close_code not in (CLOSE_KEY, CLOSE_OVER)
        await self._send([self._translator.error(reason.code, reason.message, fault=fault)])
        await self.leave(close_code, reason.code)

    async def leave(self, code: int, reason: str) -> None:
        if self._socket.client_state is WebSocketState.CONNECTED:
            # The peer may be gone already; and one that does not read cannot be told, but must not be waited for.
            with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._socket.close(code, reason)

    async def run(self, manager: ModelManager, metrics: Metrics) -> None:
        logs.session.set(self._wire.id)
        session = Session(manager.engines, self._config, metrics, self._wire.settings(), self._wire.id)
        await self._send([self._translator.created()])
        owner = asyncio.create_task(session.run(), name="session")
        tasks = [
            owner,
            asyncio.create_task(self._receive(session), name="receive"),
            asyncio.create_task(self._forward(session), name="forward"),
            asyncio.create_task(self._watch(session), name="watch"),
            asyncio.create_task(self._expire(), name="expire"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            pass
        except TimeoutError:
            log.info("a client takes nothing any more")
        except Exception:
            log.exception("a connection failed")
            await self.leave(CLOSE_FAULT, "internal_error")
        finally:
            session.close()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.wait(tasks)

    async def _forward(self, session: Session) -> None:
        async for event in session.events():
            await self._send(self._translator.translate(event))

    async def _watch(self, session: Session) -> None:
        """Close a client that stopped reading."""
        await session.stopped_reading()
        await self.leave(CLOSE_FULL, "too slow: what was sent is not being read")

    async def _expire(self) -> None:
        """Close a conversation that has lasted too long, or in which nothing happens any more."""
        limits, loop = self._config.limits, asyncio.get_running_loop()
        end = loop.time() + limits.session_s
        reason = VoiceError("session_expired", f"a conversation lasts at most {limits.session_s:g} s")
        while (now := loop.time()) < end:
            idle_s = now - self._happened_at
            if idle_s >= limits.idle_s:
                reason = VoiceError("session_idle", f"nothing has happened for {limits.idle_s:g} s")
                break
            await asyncio.sleep(min(end - now, limits.idle_s - idle_s))
        await self.refuse(reason, CLOSE_OVER)

    async def _send(self, messages: Iterable[Message]) -> None:
        self._happened_at = asyncio.get_running_loop().time()
        async with self._sending:
            for message in messages:
                if self._socket.application_state is not WebSocketState.CONNECTED:
                    return  # we have said goodbye
                async with asyncio.timeout(self._config.server.ping_timeout_s):
                    await self._socket.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    async def _receive(self, session: Session) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._happened_at = asyncio.get_running_loop().time()
            event_id = None
            text = message.get("text")
            size = len(text or message.get("bytes") or "")
            if not self._ingest.admits(size, self._wire.input_hz, self._happened_at):
                await self._send([self._translator.error("rate_limited", self._ingest.rule)])
                await asyncio.sleep(_BREATH_S)
                continue
            try:
                if text is None:
                    raise client.InvalidEvent("invalid_event", "events are JSON text; audio goes in them as base64")
                event = client.parse(text)
                event_id = event.event_id
                self._obey(session, event)
            except VoiceError as error:
                event_id = error.event_id if isinstance(error, client.InvalidEvent) else event_id
                await self._send([self._translator.error(error.code, error.message, event_id, error.param)])
            await session.caught_up()  # meanwhile the socket is not read and TCP holds the rest

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
