"""Behind a proxy that ends what is silent for too long, as RunPod's does after 100 s."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from proxy import Proxy, proxied
from realtime_client import encoded, speech
from realtime_server import Served, serving
from voxtral_voice.types import Cancel, Pcm, Voice

Message = dict[str, Any]
FRAME_SAMPLES = 480


async def next_of(socket: ClientConnection, kind: str, within_s: float = 60) -> Message:
    async with asyncio.timeout(within_s):
        while True:
            message: Message = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


async def turn(socket: ClientConnection, level: int) -> Message:
    """Something is said and answered; after its last frame nothing more is sent, as by a muted microphone."""
    pcm = speech(0.5, level)
    for start in range(0, len(pcm), FRAME_SAMPLES):
        sound = encoded(pcm[start : start + FRAME_SAMPLES])
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
        await asyncio.sleep(0.02)
    done: Message = (await next_of(socket, "response.done"))["response"]
    return done


def conversation(proxy: Proxy) -> connect:
    """As a browser has it: its page's origin, TLS, and no pings of its own."""
    return connect(proxy.socket_url, ssl=proxy.trust, origin=proxy.url, ping_interval=None)  # type: ignore[arg-type]


async def holds_for(silent_s: float, server: Served, proxy: Proxy) -> None:
    """The conversation goes on after nothing has been said and sent for this long."""
    async with conversation(proxy) as socket:
        assert (await turn(socket, 42))["status"] == "completed"
        await asyncio.sleep(silent_s)
        assert (await turn(socket, 43))["status"] == "completed"
    before = server.script.understander.seen[-1]
    assert [message.role for message in before] == ["user", "assistant", "user"]
    assert before[0].parts[0].text == "word42"


async def test_a_muted_client_keeps_its_conversation(tmp_path: Path) -> None:
    overrides: dict[str, object] = {"server.ping_interval_s": 1, "server.origins": ["https://elsewhere.example"]}
    async with serving(overrides=overrides, key=None) as server:
        with proxied(tmp_path, server.port, silence_s=3) as proxy:
            await holds_for(5, server, proxy)


async def test_without_the_servers_pings_the_proxy_would_have_cut_it(tmp_path: Path) -> None:
    async with serving(overrides={"server.ping_interval_s": 60}) as server:
        with proxied(tmp_path, server.port, silence_s=1) as proxy, pytest.raises(ConnectionClosed):
            await holds_for(3, server, proxy)
        await server.empty()


async def test_speech_is_not_held_back_by_the_proxys_buffers(tmp_path: Path) -> None:
    async with serving() as server:
        with proxied(tmp_path, server.port, silence_s=3) as proxy:
            made, speak, heard = server.script.synthesizer.spoken, server.script.synthesizer.speak, threading.Event()

            def waits(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
                if len(made) == 2:
                    heard.wait(60)
                yield from speak(clause, voice, cancel)

            server.script.synthesizer.speak = waits  # type: ignore[method-assign]
            text = "The first sentence. " + "And one of the many others. " * 6
            async with (
                httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust) as http,
                http.stream("POST", "/v1/audio/speech", json={"input": text, "response_format": "pcm"}) as answer,
            ):
                chunks = answer.aiter_bytes()
                assert await anext(chunks)
                assert len(made) < 3
                heard.set()
                assert [chunk async for chunk in chunks]
            assert len(made) == 7


async def test_pages_from_behind_the_proxy_are_ours_and_others_are_not(tmp_path: Path) -> None:
    async with serving(overrides={"server.host": "0.0.0.0"}) as server:
        with proxied(tmp_path, server.port, silence_s=3) as proxy:
            async with httpx.AsyncClient(base_url=proxy.url, verify=proxy.trust) as http:
                assert (await http.get("/v1/models", headers={"Origin": proxy.url})).status_code == 200
                assert (await http.get("/v1/models", headers={"Origin": "https://a.example"})).status_code == 403


@pytest.mark.slow
async def test_two_and_a_half_minutes_of_silence_at_runpods_limit(tmp_path: Path) -> None:
    async with serving() as server:
        assert server.config.server.ping_interval_s == 20
        with proxied(tmp_path, server.port, silence_s=100) as proxy:
            await holds_for(150, server, proxy)
