"""A listener on the line: a client connects to it as to the server, and every message is passed on and kept.

async with tapped(server.url) as line:
    ...  # http://127.0.0.1:{line.port}
    line.check()
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from realtime_client import Message, check
from voxtral_voice.types import SPEAK_HZ

CLEAN = {1000, 1001, 1005}
"""A goodbye, a program that ends, a goodbye without a code."""

HARMLESS = {"response_cancel_not_active"}
"""The answer to a cancellation that crosses the end of its response: every client expects it."""


@dataclass
class Line:
    url: str
    """The server's."""
    sent: list[tuple[float, Message]] = field(default_factory=list)
    """By the client, and when."""
    received: list[tuple[float, Message]] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    """The code with which the client ended each connection."""
    server: Server | None = None

    @property
    def port(self) -> int:
        assert self.server is not None
        port: int = next(iter(self.server.sockets)).getsockname()[1]
        return port

    def all(self, kind: str) -> list[tuple[float, Message]]:
        """What the server sent of this kind, and when."""
        return [(at, message) for at, message in self.received if message["type"] == kind]

    def last_sound_s(self) -> float:
        """How long the sound of the last response is, at 24 kHz."""
        response_id = self.all("response.created")[-1][1]["response"]["id"]
        deltas = [message for _, message in self.all("response.output_audio.delta")]
        data = [base64.b64decode(each["delta"]) for each in deltas if each["response_id"] == response_id]
        return sum(map(len, data)) / 2 / SPEAK_HZ

    def statuses(self) -> list[str]:
        """How each response ended."""
        return [message["response"]["status"] for _, message in self.all("response.done")]

    def check(self) -> None:
        """OpenAI's own types know every event, none is an error, what begins ends, and the goodbye is polite."""
        for _, message in self.received:
            check(json.dumps(message), set())
        assert [error for _, message in self.all("error") if (error := message["error"])["code"] not in HARMLESS] == []
        begun = [message["response"]["id"] for _, message in self.all("response.created")]
        assert [message["response"]["id"] for _, message in self.all("response.done")] == begun
        assert self.closes, "the client has not ended the conversation"
        assert set(self.closes) <= CLEAN

    async def pass_on(self, client: ServerConnection) -> None:
        """One client's connection, both ways, to its end."""
        assert client.request is not None
        headers = {name: text for name in ("Authorization",) if (text := client.request.headers.get(name))}
        address = self.url.replace("http", "ws", 1) + client.request.path
        protocols = [client.subprotocol] if client.subprotocol else None
        async with connect(address, additional_headers=headers, subprotocols=protocols, max_size=None) as server:
            down = asyncio.create_task(self._copy(server, client, self.received))
            await self._copy(client, server, self.sent)
            self.closes.append(client.close_code)
            await server.close()
            await down
        await client.close()

    async def _copy(
        self,
        source: ClientConnection | ServerConnection,
        sink: ClientConnection | ServerConnection,
        log: list[tuple[float, Message]],
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for text in source:
                log.append((loop.time(), json.loads(text)))
                await sink.send(text)
        except ConnectionClosed:
            return
        finally:
            if log is self.received:
                await sink.close()


def _realtime(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """As our server answers: browsers insist on it, others do not ask."""
    return next((each for each in offered if each == "realtime"), None)


@asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Line]:
    """A line to the server at `url`."""
    line = Line(url)
    async with serve(
        line.pass_on, "127.0.0.1", 0, select_subprotocol=_realtime, max_size=None, compression=None
    ) as server:
        line.server = server
        yield line
