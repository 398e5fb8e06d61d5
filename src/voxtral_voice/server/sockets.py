"""One client's socket: what it sends goes to a session, what happens there goes to it, in the words of its wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voxtral_voice import logs
from voxtral_voice.config import Config
from voxtral_voice.events import Event
from voxtral_voice.metrics import Metrics
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.door import Admission
from voxtral_voice.server.ingest import Ingest
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)

Message = dict[str, Any]

CLOSE_OVER = 1000
CLOSE_KEY = 1008
CLOSE_FAULT = 1011
CLOSE_FULL = 1013

_FAREWELL_S = 1.0
_BREATH_S = 0.1  # the socket is not read after what came too fast
_IN_A_ROW_BYTES = (
    64 * 1024
)  # of the thousands of messages that may come in one packet: others have their turn in between
_LEAST_BYTES = 4 * 1024  # that a message counts as: a small one costs as much
_AS_BASE64 = 4 / 3  # sound in a binary frame takes this much less room


class Wire(Protocol):
    """The language of one client, and what was agreed in it."""

    @property
    def session_id(self) -> str:
        """What the client and the log call the session."""

    @property
    def input_hz(self) -> int:
        """Rate of the sound that comes in."""

    def settings(self) -> SessionSettings:
        """What the session starts with."""

    def created(self) -> Message:
        """The first message."""

    def translate(self, event: Event) -> Iterable[Message | bytes]:
        """What the client is told of it; bytes go as a binary frame."""

    def error(self, reason: VoiceError, *, fault: bool) -> Message:
        """`fault`: ours and not the client's."""

    def obey(self, session: Session, message: str | bytes) -> Iterable[Message] | None:
        """Do what the client asks for. Returns what is answered at once. Raises VoiceError for what cannot be done."""


class SocketDoor:
    """All sockets of the process: each holds one conversation."""

    def __init__(self, manager: ModelManager, config: Config, metrics: Metrics, admission: Admission) -> None:
        self._admission = admission
        self._manager = manager
        self._config = config
        self._metrics = metrics
        self._connections: set[Connection] = set()

    @property
    def active(self) -> int:
        return len(self._connections)

    async def serve(self, socket: WebSocket, speak: Callable[[WebSocket, Config], Wire]) -> None:
        """One connection, from handshake to close. `speak`: the wire for it."""
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
        connection = Connection(socket, self._config, self._metrics, speak(socket, self._config))
        if refusal := self._admission.refusal(socket.scope):
            await connection.refuse(refusal, CLOSE_KEY)
            return
        if refusal := self._refusal():
            await connection.refuse(refusal, CLOSE_FULL)
            return
        self._connections.add(connection)
        try:
            await connection.run(self._manager)
        finally:
            self._connections.discard(connection)

    async def drain(self) -> None:
        """Tell everybody that the server goes away."""
        await asyncio.gather(*(connection.leave(1001, "the server is going away") for connection in self._connections))

    def _refusal(self) -> VoiceError | None:
        if self.active >= self._config.limits.sessions:
            return VoiceError("at_capacity", f"all {self._config.limits.sessions} conversations are taken: try again")
        return self._manager.refusal()


class Connection:
    """One client."""

    def __init__(self, socket: WebSocket, config: Config, metrics: Metrics, wire: Wire) -> None:
        self._socket = socket
        self._config = config
        self._metrics = metrics
        self._wire = wire
        self._sending = asyncio.Lock()
        limits, now = config.limits, asyncio.get_running_loop().time()
        self._ingest = Ingest(limits.ingest_rate, limits.ingest_burst_s, now)
        self._happened_at = now

    async def refuse(self, reason: VoiceError, close_code: int) -> None:
        """A refused handshake shows a browser only 1006; an error event says why."""
        await self._send([self._error(reason, fault=close_code not in (CLOSE_KEY, CLOSE_OVER))])
        await self.leave(close_code, reason.code)

    async def leave(self, code: int, reason: str) -> None:
        if self._socket.client_state is WebSocketState.CONNECTED:
            # The peer may be gone already; and one that does not read cannot be told, but must not be waited for.
            with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._socket.close(code, reason)

    async def run(self, manager: ModelManager) -> None:
        logs.session.set(self._wire.session_id)
        session = Session(manager.engines, self._config, self._metrics, self._wire.settings(), self._wire.session_id)
        await self._send([self._wire.created()])
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
            await self._send(self._wire.translate(event))

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

    def _error(self, reason: VoiceError, *, fault: bool) -> Message:
        """What did not come as far as the session, which counts its own."""
        self._metrics.errors.labels(reason.code).inc()
        return self._wire.error(reason, fault=fault)

    async def _send(self, messages: Iterable[Message | bytes]) -> None:
        self._happened_at = asyncio.get_running_loop().time()
        async with self._sending:
            for message in messages:
                if self._socket.application_state is not WebSocketState.CONNECTED:
                    return  # we have said goodbye
                async with asyncio.timeout(self._config.server.ping_timeout_s):
                    if isinstance(message, bytes):
                        await self._socket.send_bytes(message)
                    else:
                        await self._socket.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    async def _receive(self, session: Session) -> None:
        in_a_row = 0
        while True:
            frame = await self._socket.receive()
            if frame["type"] == "websocket.disconnect":
                return
            self._happened_at = asyncio.get_running_loop().time()
            text = frame.get("text")
            message: str | bytes = text if text is not None else frame.get("bytes") or b""
            size = len(message) if isinstance(message, str) else round(len(message) * _AS_BASE64)
            if not self._ingest.admits(size, self._wire.input_hz, self._happened_at):
                await self._send([self._error(VoiceError("rate_limited", self._ingest.rule), fault=False)])
                await asyncio.sleep(_BREATH_S)
                continue
            try:
                answers = list(self._wire.obey(session, message) or ())
            except VoiceError as error:
                answers = [self._error(error, fault=False)]
            if answers:  # what needs none is obeyed also while the client reads nothing: it may be an interruption
                await self._send(answers)
            in_a_row += max(size, _LEAST_BYTES)
            if in_a_row >= _IN_A_ROW_BYTES:
                in_a_row = 0
                await asyncio.sleep(0)
            await session.caught_up()  # meanwhile the socket is not read and TCP holds the rest
