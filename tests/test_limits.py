"""How much, how fast and how long one client may."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from realtime_client import connected, encoded, speech
from realtime_server import serving
from voxtral_voice.server.ingest import Ingest

FRAME_CHARS = 2560  # 40 ms of 24 kHz in base64


def frame(seconds: float, level: int = 0) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": encoded(speech(seconds, level))})


async def errors(socket: ClientConnection) -> list[dict[str, Any]]:
    """The error events that answer what has been sent so far."""
    found = []
    await socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
    while (message := json.loads(await socket.recv()))["type"] != "session.updated":
        if message["type"] == "error":
            found.append(message["error"])
    return found


def test_real_time_is_never_refused_however_long_it_goes_on() -> None:
    ingest = Ingest(rate=2, burst_s=1, now_s=0)
    assert all(ingest.admits(FRAME_CHARS, 24_000, 0.04 * number) for number in range(100_000))


def test_a_burst_is_taken_and_then_twice_real_time() -> None:
    ingest = Ingest(rate=2, burst_s=10, now_s=0)
    assert sum(ingest.admits(FRAME_CHARS, 24_000, 0) for _ in range(1000)) == 250
    assert sum(ingest.admits(FRAME_CHARS, 24_000, 5) for _ in range(1000)) == 250
    assert sum(ingest.admits(FRAME_CHARS, 24_000, 6) for _ in range(1000)) == 50
    assert sum(ingest.admits(FRAME_CHARS, 16_000, 7) for _ in range(1000)) == 33


def test_very_many_small_messages_are_too_much_as_well() -> None:
    ingest = Ingest(rate=2, burst_s=1, now_s=0)
    assert sum(ingest.admits(2, 24_000, 0) for _ in range(5000)) == pytest.approx(1000, abs=1)


async def test_sound_that_comes_too_fast_is_refused_and_the_conversation_lives() -> None:
    limits: dict[str, object] = {"limits.ingest_burst_s": 2, "limits.ingest_rate": 4}
    async with serving(overrides=limits) as server:
        async with connect(server.socket_url) as socket:
            second = frame(1)
            for _ in range(6):
                await socket.send(second)
            told = await errors(socket)
            assert {each["code"] for each in told} == {"rate_limited"}
            assert 1 < len(told) <= 4  # two seconds are a burst, and time goes on meanwhile
            assert "4 times real time" in told[0]["message"]
        async with connected(server.url) as client:
            answer = await client.turn(42)
            assert answer["status"] == "completed"
            assert client.errors() == []


async def told_and_closed(socket: ClientConnection) -> tuple[str, int, str]:
    """The error that comes, the code and the reason of the close."""
    async with asyncio.timeout(60):
        messages = [json.loads(message) async for message in socket]  # ends at a close that is no failure
    told = next(message["error"]["code"] for message in messages if message["type"] == "error")
    assert socket.close_code is not None
    return told, socket.close_code, socket.close_reason or ""


async def test_a_conversation_in_which_nothing_happens_is_closed_with_the_reason() -> None:
    async with serving(overrides={"limits.idle_s": 1.0}) as server, connect(server.socket_url) as socket:
        for _ in range(6):  # whoever sends anything is there
            await asyncio.sleep(0.2)
            await socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
        sent_at = asyncio.get_running_loop().time()
        assert await told_and_closed(socket) == ("session_idle", 1000, "session_idle")
        assert asyncio.get_running_loop().time() - sent_at > 0.9
        await server.empty()


async def test_a_conversation_ends_when_it_has_lasted_its_time() -> None:
    async with serving(overrides={"limits.session_s": 1}) as server, connect(server.socket_url) as socket:
        created = json.loads(await socket.recv())
        assert created["session"]["expires_at"] > 0

        async def speak() -> None:
            while True:
                await socket.send(frame(0.04, 42))
                await asyncio.sleep(0.04)

        speaking = asyncio.create_task(speak())
        assert await told_and_closed(socket) == ("session_expired", 1000, "session_expired")
        speaking.cancel()
        await asyncio.wait([speaking])
        await server.empty()
