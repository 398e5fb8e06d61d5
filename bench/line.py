"""One conversation with a running server, ours or the peer: PCM goes in, what comes back is noted with its time.

A `Line` sends a frame when its last sample would have been recorded, never earlier, and takes no notice of how the
server says things: `Noted` has the same kinds for both.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from voxtral_voice import audio
from voxtral_voice.playout import audible
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm

FRAME_S = 0.02
_FRAME = round(FRAME_S * HEAR_HZ)
_PATIENCE_S = 60.0

Kind = Literal["sound", "turn_ended", "interrupted", "ducked", "unducked", "reply_done", "marks"]
Wire = Literal["realtime", "pipecat"]


@dataclass(frozen=True, slots=True)
class Noted:
    """What came, and when (the event loop's clock)."""

    at_s: float
    kind: Kind
    audible: bool = False
    """Of sound: the packet holds 10 ms above -45 dBFS."""
    sound_s: float = 0.0
    """Of sound: how long it lasts."""
    marks_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Realtime:
    """The OpenAI Realtime protocol."""

    def frame(self, pcm16: bytes) -> str:
        return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(pcm16).decode()}"}}'

    def opening(self, ducks: bool, metrics: bool) -> list[str]:
        formats = {"format": {"type": "audio/pcm", "rate": HEAR_HZ}}
        wanted = ["output.duck"] * ducks + ["turn.metrics"] * metrics
        session: dict[str, Any] = {"type": "realtime", "audio": {"input": formats}}
        if wanted:
            session["include"] = wanted
        return [json.dumps({"type": "session.update", "session": session})]

    def is_ready(self, message: dict[str, Any]) -> bool:
        return bool(message["type"] == "session.updated")

    def say(self, text: str) -> list[str]:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        return [
            json.dumps({"type": "conversation.item.create", "item": item}),
            json.dumps({"type": "response.create"}),
        ]

    def read(self, raw: str | bytes) -> tuple[dict[str, Any], bytes | None]:
        message = json.loads(raw)
        if message["type"] == "response.output_audio.delta":
            return message, base64.b64decode(message["delta"])
        return message, None

    def kind(self, message: dict[str, Any]) -> Kind | None:
        match message["type"]:
            case "input_audio_buffer.committed":
                return "turn_ended"
            case "input_audio_buffer.speech_started":
                return "interrupted"
            case "response.done":
                return "reply_done"
            case "voxtral.output.duck":
                return "ducked"
            case "voxtral.output.unduck":
                return "unducked"
            case "voxtral.turn.metrics":
                return "marks"
            case "error":
                raise RuntimeError(f"the server says: {message['error']}")
        return None


@dataclass(frozen=True, slots=True)
class _Pipecat:
    """Raw PCM both ways, as bench/peer/pipecat_server.py has it."""

    def frame(self, pcm16: bytes) -> bytes:
        return pcm16

    def opening(self, ducks: bool, metrics: bool) -> list[str]:
        return []

    def is_ready(self, message: dict[str, Any]) -> bool:
        return bool(message["type"] == "ready")

    def say(self, text: str) -> list[str]:
        return [json.dumps({"say": sentence}) for sentence in re.split(r"(?<=[.!?]) ", text)]

    def read(self, raw: str | bytes) -> tuple[dict[str, Any], bytes | None]:
        return ({"type": "sound"}, raw) if isinstance(raw, bytes) else (json.loads(raw), None)

    def kind(self, message: dict[str, Any]) -> Kind | None:
        kinds: dict[str, Kind] = {"turn_ended": "turn_ended", "interrupted": "interrupted", "silent": "reply_done"}
        return kinds.get(message["type"])


class Line:
    """One open conversation. Its microphone is open: `noise` is sent, again and again, where nothing is said."""

    def __init__(self, socket: ClientConnection, wire: _Realtime | _Pipecat, noise: Pcm) -> None:
        self._socket, self._wire = socket, wire
        self._quiet = self._encoded(noise)
        self._unsaid: list[str | bytes] = []
        self._news = asyncio.Event()
        self.noted: list[Noted] = []
        self._next: Callable[[float], None] | None = None
        self.began_s = 0.0
        """When the first sample of its first frame was spoken (the event loop's clock)."""

    def _encoded(self, pcm: Pcm) -> list[str | bytes]:
        whole = audio.to_pcm16(np.pad(pcm, (0, -len(pcm) % _FRAME)))
        return [self._wire.frame(whole[at : at + 2 * _FRAME]) for at in range(0, len(whole), 2 * _FRAME)]

    async def microphone(self) -> None:
        """A frame every 20 ms, for ever."""
        loop, turn = asyncio.get_running_loop(), 0
        self.began_s = loop.time()
        due = self.began_s + FRAME_S
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(max(0.0, due - loop.time()))
                if self._next is not None:
                    self._next(due - FRAME_S)
                    self._next = None
                if self._unsaid:
                    frame = self._unsaid.pop()
                else:
                    frame, turn = self._quiet[turn % len(self._quiet)], turn + 1
                await self._socket.send(frame)
                due += FRAME_S

    async def listen(self) -> None:
        """Take everything that comes. Raises RuntimeError for an error event."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionClosed):
            async for raw in self._socket:
                now = loop.time()
                message, sound = self._wire.read(raw)
                if sound is not None:
                    pcm = audio.from_pcm16(sound)
                    self.noted.append(Noted(now, "sound", audible(pcm), len(pcm) / SPEAK_HZ))
                elif (kind := self._wire.kind(message)) is not None:
                    self.noted.append(Noted(now, kind, marks_ms=message.get("marks_ms", {})))
                self._news.set()

    async def play(self, pcm: Pcm) -> float:
        """Say `pcm` (shape [samples], 16 kHz), beginning with the next frame. Returns when its first sample is spoken
        (the event loop's clock); does not wait for its end.
        """
        begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._unsaid = self._encoded(pcm)[::-1]
        self._next = begun.set_result
        return await begun

    async def ask(self, text: str) -> None:
        """Have something said without speaking: a text to answer (ours) or to read out (the peer)."""
        for message in self._wire.say(text):
            await self._socket.send(message)

    async def until(self, found: Callable[[Noted], bool], within_s: float, since: int = 0) -> Noted | None:
        """The first such note from index `since` on; None where it does not come in time."""
        deadline = asyncio.get_running_loop().time() + within_s
        at = since
        while True:
            while at < len(self.noted):
                if found(self.noted[at]):
                    return self.noted[at]
                at += 1
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)


@asynccontextmanager
async def call(
    url: str, wire: Wire, *, noise: Pcm | None = None, ducks: bool = False, metrics: bool = False
) -> AsyncIterator[Line]:
    """A conversation with the server at `url` ("ws://…"), ready to be talked to. `noise`: what its microphone hears."""
    protocol = _Realtime() if wire == "realtime" else _Pipecat()
    async with connect(url, open_timeout=_PATIENCE_S, compression=None, max_size=2**22) as socket:
        for message in protocol.opening(ducks, metrics):
            await socket.send(message)
        async with asyncio.timeout(_PATIENCE_S):
            while not protocol.is_ready(protocol.read(await socket.recv())[0]):
                pass
        line = Line(socket, protocol, np.zeros(_FRAME, np.float32) if noise is None else noise)
        running = [asyncio.create_task(line.listen()), asyncio.create_task(line.microphone())]
        try:
            yield line
        finally:
            for task in running:
                task.cancel()
            for outcome in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(outcome, RuntimeError):
                    raise outcome
