"""Requests that are only on their way hold no place, and what they have sent so far is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from realtime_server import Served, serving, until
from sound_files import steady, wav
from voxtral_voice import config
from voxtral_voice.config import ConfigError
from voxtral_voice.types import Cancel, Pcm, Voice

SPEECH, TRANSCRIPTIONS = "/v1/audio/speech", "/v1/audio/transcriptions"
ONE = {"file": wav(steady(1))}
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


class Slow:
    """A client that has begun to send a body of `size_bytes`, a form of its own making or anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, part: bytes) -> None:
        self._writer.write(part)
        await self._writer.drain()

    async def answer(self) -> bytes:
        """To the end of its status line."""
        return await asyncio.wait_for(self._reader.readline(), 60)


@asynccontextmanager
async def slow(server: Served, path: str, size_bytes: int) -> AsyncIterator[Slow]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    client = Slow(reader, writer)
    kind = "application/json" if path == SPEECH else "multipart/form-data; boundary=x"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {size_bytes}\r\n\r\n"
    await client.send(head.encode())
    try:
        yield client
    finally:
        writer.close()


def held_up(server: Served) -> threading.Event:
    """No clause is spoken before this is set."""
    speak, release = server.script.synthesizer.speak, threading.Event()

    def waits(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        assert release.wait(60)
        yield from speak(clause, voice, cancel)

    server.script.synthesizer.speak = waits  # type: ignore[method-assign]
    return release


def browser_of(server: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


def coming(server: Served, *, uploads: bool) -> int:
    """Bodies that the server waits for."""
    return len(server.runner._app.state.bodies[uploads]._coming)


def left_bytes(server: Served, *, uploads: bool) -> int:
    """For further bodies."""
    left: int = server.runner._app.state.bodies[uploads]._left_bytes
    return left


async def test_bodies_that_trickle_in_hold_no_place() -> None:
    async with (
        serving(overrides={"limits.requests": 1}) as server,
        slow(server, TRANSCRIPTIONS, 10_000) as upload,
        slow(server, SPEECH, 1000) as text,
        browser_of(server) as client,
    ):
        await upload.send(FORM)
        await text.send(b"{")
        await until(lambda: coming(server, uploads=True) and coming(server, uploads=False))
        assert (await client.post(TRANSCRIPTIONS, files=ONE)).status_code == 200
        while (said := await client.post(SPEECH, json={"input": "Hello."})).status_code == 503:
            pass  # the place is free once the server, too, has seen the end of the answer
        assert said.status_code == 200


async def test_whose_body_is_there_when_no_place_is_free_is_told_so() -> None:
    rest = b"\0" * 100 + b"\r\n--x--\r\n"
    async with (
        serving(overrides={"limits.requests": 1}) as server,
        slow(server, TRANSCRIPTIONS, len(FORM + rest)) as upload,
        browser_of(server) as client,
    ):
        await upload.send(FORM)
        await until(lambda: coming(server, uploads=True))
        release = held_up(server)
        speaking = asyncio.create_task(client.post(SPEECH, json={"input": "Hello."}))
        await until(lambda: server.script.engines.speak_worker._jobs)
        await upload.send(rest)
        assert await upload.answer() == b"HTTP/1.1 503 Service Unavailable\r\n"
        release.set()
        assert (await speaking).status_code == 200


@pytest.mark.parametrize("path", [SPEECH, TRANSCRIPTIONS])
async def test_what_is_on_its_way_is_bounded_together(path: str) -> None:
    limits: dict[str, object] = {f"server.{name}_bytes": 1 << 20 for name in ("message", "upload", "bodies")}
    half, uploads = FORM + bytes(600_000), path == TRANSCRIPTIONS
    async with serving(overrides=limits) as server, browser_of(server) as client:
        async with slow(server, path, 1 << 20) as first, slow(server, path, 1 << 20) as second:
            await first.send(half)
            await until(lambda: left_bytes(server, uploads=uploads) < 500_000)
            await second.send(half)
            assert await second.answer() == b"HTTP/1.1 503 Service Unavailable\r\n"
            await until(lambda: left_bytes(server, uploads=uploads) > 400_000)
            assert (await client.post(TRANSCRIPTIONS, files=ONE)).status_code == 200
        await until(lambda: left_bytes(server, uploads=uploads) == 1 << 20)  # both have gone


def test_the_room_for_all_bodies_holds_the_largest() -> None:
    with pytest.raises(ConfigError, match="bodies_bytes must hold"):
        config.load(overrides={"server.upload_bytes": 256 << 20}, environ={})
