"""A client of the simple socket whose microphone is open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sound_files import steady
from voxtral_voice import audio
from voxtral_voice.types import Pcm

Message = dict[str, Any]
FRAME_S = 0.02


class SimpleClient:
    def __init__(self, socket: ClientConnection, hz: int = 16_000) -> None:
        self.socket = socket
        self.hz = hz
        self.log: list[Message | bytes] = []
        self._unsaid: list[Pcm] = []
        self._read = 0
        self._news = asyncio.Event()

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def listen(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self.socket:
                self.log.append(message if isinstance(message, bytes) else json.loads(message))
                self._news.set()
        self._news.set()

    async def talk(self) -> None:
        """A frame every 20 ms, in binary."""
        with suppress(ConnectionClosed):
            while True:
                size = round(FRAME_S * self.hz)
                frame = self._unsaid.pop(0) if self._unsaid else np.zeros(size, np.float32)
                await self.socket.send(audio.to_pcm16(frame))
                await asyncio.sleep(FRAME_S)

    def say(self, seconds: float, level: int) -> None:
        """What the scripted engines hear as `word<level>`."""
        pcm, size = steady(seconds, level / 100, self.hz), round(FRAME_S * self.hz)
        pcm = np.pad(pcm, (0, -len(pcm) % size))
        self._unsaid += list(pcm.reshape(-1, size))

    async def message(self, kind: str, within_s: float = 60) -> Message:
        """The next of this kind; the next call looks behind it."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._read < len(self.log):
                        found = self.log[self._read]
                        self._read += 1
                        if not isinstance(found, bytes) and found["type"] == kind:
                            return found
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind}; there were {self.kinds()[-12:]}") from None

    def kinds(self) -> list[str]:
        """What came, repeats of one kind in a row once; binary frames are `sound`."""
        names = ["sound" if isinstance(each, bytes) else str(each["type"]) for each in self.log]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def all(self, kind: str) -> list[Message]:
        return [each for each in self.log if not isinstance(each, bytes) and each["type"] == kind]


@asynccontextmanager
async def simple(url: str, *, microphone: bool = True, hz: int = 16_000, **more: Any) -> AsyncIterator[SimpleClient]:
    """`url`: "ws://127.0.0.1:8000/ws"; `more`: of the connection."""
    async with connect(url, **more) as socket:
        client = SimpleClient(socket, hz)
        running = [asyncio.create_task(client.listen())]
        try:
            await client.message("connection")
            if hz != 16_000:
                await client.send(type="connection", sample_rate_hz=hz)
                assert (await client.message("connection"))["sample_rate_hz"] == hz
            if microphone:
                running.append(asyncio.create_task(client.talk()))
            yield client
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
