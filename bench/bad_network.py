"""A TCP proxy that behaves like a bad network: delay with jitter, and now and then nothing at all for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.server_process import free_port


@dataclass(frozen=True, slots=True)
class Weather:
    delay_ms: float = 40
    """Each way."""
    jitter_ms: float = 20
    stall_every_s: float = 4.0
    stall_ms: float = 250
    """A lost packet on a TCP connection looks like this: nothing, then everything at once."""


@asynccontextmanager
async def through(port: int, weather: Weather, seed: int = 7) -> AsyncIterator[int]:
    """A port behind which the server at `port` is, with this weather between."""
    chance = random.Random(seed)
    running: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
        for source, sink in ((reader, onward_writer), (onward_reader, writer)):
            task = asyncio.create_task(_carry(source, sink, weather, random.Random(chance.random())))
            running.add(task)
            task.add_done_callback(running.discard)

    front = free_port()
    server = await asyncio.start_server(connection, "127.0.0.1", front)
    try:
        yield front
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, weather: Weather, chance: random.Random
) -> None:
    """Bytes stay in order; what is behind a stall waits with it."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            sink.write(data)
            await sink.drain()
            if not data:
                sink.write_eof()
                return

    delivering = asyncio.create_task(deliver())
    stall_at = loop.time() + chance.uniform(0, weather.stall_every_s)
    free_at = 0.0
    try:
        while True:
            data = await source.read(65536)
            now = loop.time()
            if now >= stall_at:
                free_at = now + weather.stall_ms / 1000
                stall_at = now + chance.uniform(0.5, 1.5) * weather.stall_every_s
            delay_s = (weather.delay_ms + chance.uniform(-1, 1) * weather.jitter_ms) / 1000
            waiting.put_nowait((max(now + delay_s, free_at), data))
            if not data:
                await delivering
                return
    except (ConnectionError, OSError):
        pass
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        sink.close()
