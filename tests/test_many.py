"""Many at once, and clients that interrupt, leave, stop reading or come at the wrong time."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime_client import Client, connected, encoded, speech
from realtime_server import Served, quick, serving
from scripted import Script
from voxtral_voice.server import sockets
from voxtral_voice.server.sockets import Connection

Message = dict[str, Any]


def talkative(parts: Script) -> None:
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + "And this goes on for quite a while. " * 4


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def closed(wire: ClientConnection) -> tuple[list[Message], int | None]:
    """Everything that still comes, and the code of the close (None: there was none)."""
    messages = []
    async with asyncio.timeout(60):
        try:
            while True:
                messages.append(json.loads(await wire.recv()))
        except ConnectionClosed as end:
            return messages, end.rcvd.code if end.rcvd else None


async def lags_ms(stop: asyncio.Event) -> list[float]:
    """How much too late the event loop wakes up who sleeps for 5 ms."""
    loop, lags = asyncio.get_running_loop(), []
    while not stop.is_set():
        due = loop.time() + 0.005
        await asyncio.sleep(0.005)
        lags.append((loop.time() - due) * 1000)
    return lags


async def test_five_talk_at_once_and_each_hears_its_own_words_alone() -> None:
    async with serving() as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server.url)) for _ in range(5)]
        levels = [11, 22, 33, 44, 55]
        p99 = []
        for _ in range(3):  # the machine may be busy with something else
            stop = asyncio.Event()
            sampler = asyncio.create_task(lags_ms(stop))
            await asyncio.gather(*(client.turn(level) for client, level in zip(clients, levels, strict=True)))
            stop.set()
            p99.append(float(np.percentile(await sampler, 99)))
            if p99[-1] < 40:
                break
            await asyncio.sleep(0.35)
        assert min(p99) < 40, f"event loop lag p99: {p99} ms"  # twice the bar
        for client, level in zip(clients, levels, strict=True):
            words = {word for word in client.heard().replace(".", "").split() if word.startswith("word")}
            assert words == {f"word{level}"}
            heard = client.all("conversation.item.input_audio_transcription.completed")
            assert {message["transcript"] for message in heard} == {f"word{level}"}
            client.check_order()
        ids = [message["event_id"] for client in clients for _, message in client.log]
        assert len(ids) == len(set(ids))
        assert await server.active() == 5


# Who leaves, and when.


async def nothing(client: Client) -> None:
    pass


async def speaking(client: Client) -> None:
    await client.say(0.2, 42)


async def thinking(client: Client) -> None:
    """In the pause, while a reply is drafted."""
    await client.say(0.3, 42)
    await asyncio.sleep(0.13)


async def listening(client: Client) -> None:
    await client.say(0.3, 42)
    await client.event("response.output_audio.delta")


async def interrupting(client: Client) -> None:
    await listening(client)
    await client.say(0.4, 43)


@pytest.mark.parametrize("politely", [True, False])
async def test_whoever_leaves_at_any_moment_frees_the_place(politely: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def leave_at(server: Served, state: Callable[[Client], Awaitable[None]]) -> None:
        async with connected(server.url) as client:
            await state(client)
            if not politely:
                client.connection._connection.transport.abort()

    async with serving(talkative) as server:
        states = (nothing, speaking, thinking, listening, interrupting)
        await asyncio.gather(*(leave_at(server, state) for state in states))
        await server.empty()
        assert server.script.understander.running == 0
        async with connected(server.url) as client:
            await listening(client)
    assert complaints(caplog) == []


async def test_one_too_many_is_told_so_and_the_place_is_given_to_the_next() -> None:
    async with serving(overrides={"limits.sessions": 2}) as server:
        async with connected(server.url), connected(server.url):
            async with connect(server.socket_url) as wire:
                (refusal,), code = await closed(wire)
            assert (refusal["type"], refusal["error"]["code"], code) == ("error", "at_capacity", 1013)
            assert await server.active() == 2
        await server.empty()
        async with connected(server.url) as client:
            assert (await client.turn(42, 0.3))["status"] == "completed"
        assert 'voice_errors_total{code="at_capacity"} 1.0' in (await server.get("/metrics")).text


async def deaf(server: Served) -> ClientConnection:
    """A client with a small window that takes nothing out of it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
    return await connect(server.socket_url, sock=raw, max_queue=1, close_timeout=1, ping_interval=None)


async def ask_for_much(wire: ClientConnection) -> None:
    """25 MB, by a few small questions."""
    words = [{"type": "input_text", "text": "x" * 500_000}]
    item = {"id": "item_1", "type": "message", "role": "user", "content": words}
    await wire.send(json.dumps({"type": "conversation.item.create", "item": item}))
    for _ in range(50):
        await wire.send(json.dumps({"type": "conversation.item.retrieve", "item_id": "item_1"}))


async def test_a_client_that_stops_reading_is_closed_and_told_when_it_reads_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, told = Connection.leave, asyncio.Event()

    async def noted(connection: Connection, code: int, reason: str) -> None:
        told.set()
        await leave(connection, code, reason)

    monkeypatch.setattr(Connection, "leave", noted)
    monkeypatch.setattr(sockets, "_FAREWELL_S", 30)
    async with serving() as server:
        wire = await deaf(server)
        await ask_for_much(wire)
        await told.wait()
        messages, code = await closed(wire)
        assert code == 1013
        assert len(messages) < 50
        await server.empty()
    assert complaints(caplog) == []


async def test_a_client_that_never_reads_again_keeps_no_place(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        wire = await deaf(server)
        await ask_for_much(wire)
        await server.empty()
        wire.transport.abort()
        await wire.wait_closed()
    assert complaints(caplog) == []


async def test_nobody_is_served_before_the_models_are_there() -> None:
    async with serving(state="loading") as server:
        for code in ("model_loading", "model_failed"):
            async with connect(server.socket_url) as wire:
                (refusal,), close = await closed(wire)
            assert (refusal["type"], refusal["error"]["code"], close) == ("error", code, 1013)
            assert refusal["error"]["type"] == "server_error"
            server.manager.become("failed")
        server.manager.become("ready")
        async with connected(server.url) as client:
            assert (await client.turn(42, 0.3))["status"] == "completed"


async def test_health_ready_and_status_say_how_far_the_models_are() -> None:
    async with serving(state="loading") as server:
        expected: dict[Any, dict[str, int]] = {
            "loading": {"/ping": 204, "/health": 200, "/ready": 503, "/status": 200, "/metrics": 200},
            "ready": {"/ping": 200, "/health": 200, "/ready": 200, "/status": 200, "/metrics": 200},
            "failed": {"/ping": 503, "/health": 200, "/ready": 503, "/status": 200, "/metrics": 200},
        }
        for state, codes in expected.items():
            server.manager.become(state)
            assert {path: (await server.get(path)).status_code for path in codes} == codes, state
            status = (await server.get("/status")).json()
            assert status["models"]["scripted"] == {
                "state": state,
                "progress": float(state == "ready"),
                "detail": "as scripted",
            }
            assert status["sessions"] == {"active": 0, "max": server.config.limits.sessions}
            assert set(status) >= {"version", "profile", "models", "sessions", "latency_ms"}
            ready = await server.get("/ready")
            if state != "ready":
                assert ready.json()["error"]["code"] == {"loading": "model_loading", "failed": "model_failed"}[state]
                assert ready.headers["retry-after"]


async def test_after_a_turn_the_figures_are_there_in_every_form() -> None:
    async with serving() as server:
        async with connected(server.url) as client:
            await client.turn(42)
            text = (await server.get("/metrics")).text
        assert "voice_sessions_active 1.0" in text
        assert 'voice_turns_total{outcome="completed"} 1.0' in text
        assert 'voice_turn_latency_seconds_count{stage="first_sent"} 1.0' in text
        figures = [(await server.get(path)).json() for path in ("/performance", "/v1/speech-to-speech/metrics")]
        assert figures[0] == figures[1]
        assert figures[0]["latency_ms"]["voice_to_voice_sent_ms"]["n"] == 1
        assert 0 < figures[0]["latency_ms"]["voice_to_voice_sent_ms"]["p50"] < 10_000


async def test_at_the_end_everybody_is_told_that_the_server_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(talkative) as server:
        async with connect(server.socket_url) as wire:
            await wire.recv()
            said = np.concatenate([speech(0.4, 42), np.zeros(9600, np.float32)])
            await wire.send(json.dumps({"type": "input_audio_buffer.append", "audio": encoded(said)}))
            while json.loads(await wire.recv())["type"] != "response.output_audio.delta":
                pass
            server.runner.should_exit = True
            _, code = await closed(wire)
        assert code == 1001
    assert complaints(caplog) == []
