"""Whatever error a client is told is counted once, and logged where it is not the client's fault."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect

from realtime_server import Served, serving, until
from sound_files import steady, wav
from voxtral_voice.types import Cancel, Heard, Pcm, Voice, VoiceError

SPEECH, TRANSCRIPTIONS = "/v1/audio/speech", "/v1/audio/transcriptions"
TEXT = "The bridge is old. And so on it goes, as everybody knows."


async def counted(server: Served) -> dict[str, int]:
    """Errors told so far, by their codes."""
    lines = (await server.get("/metrics")).text.splitlines()
    told = [line.split('"') for line in lines if line.startswith("voice_errors_total{")]
    return {code: round(float(count.removeprefix("} "))) for _, code, count in told}


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def fails_with(server: Served, error: Exception, *, from_clause: str) -> None:
    """The voice breaks at the clause that begins so."""
    speak = server.script.synthesizer.speak

    def fails(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        if clause.startswith(from_clause):
            raise error
        yield from speak(clause, voice, cancel)

    server.script.synthesizer.speak = fails  # type: ignore[method-assign]


async def test_a_clients_errors_are_counted_and_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    limits: dict[str, object] = {"server.upload_bytes": 65_536}
    async with serving(overrides=limits) as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await client.get("/nowhere")
        await client.put("/status")
        await client.post(SPEECH, json={"input": 7})
        await client.post(SPEECH, json={"input": "x" * 5000})
        await client.post(SPEECH, content=bytes(2 << 20))
        await client.post(TRANSCRIPTIONS, json={})
        await client.post(TRANSCRIPTIONS, files={"file": b"no sound"})
        await client.post(TRANSCRIPTIONS, files={"file": bytes(100_000)})
        assert await counted(server) == {
            "unknown_url": 1,
            "method_not_allowed": 1,
            "invalid_event": 3,
            "invalid_audio": 1,
            "message_too_large": 2,
        }
        assert logged(caplog) == []


async def test_who_comes_too_early_is_counted_and_who_asks_whether_it_is_too_early_is_not() -> None:
    async with serving(state="loading") as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/ready")).status_code == 503
        assert (await client.post(SPEECH, json={"input": "Hello."})).status_code == 503
        assert await counted(server) == {"model_loading": 1}


@pytest.mark.parametrize("from_clause", ["The", "And"])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_fault_of_ours_is_counted_and_its_stack_is_in_the_log_once(
    stream_format: str, from_clause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        fails_with(server, RuntimeError("a path of ours"), from_clause=from_clause)
        body = {"input": TEXT, "response_format": "pcm", "stream_format": stream_format}
        if stream_format == "audio" and from_clause == "And":
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(SPEECH, json=body)
        else:
            told = (await client.post(SPEECH, json=body)).text
            assert '"code":"internal_error"' in told
            assert "path" not in told
        await until(lambda: any(record.exc_info for record in caplog.records), "the stack")
        assert [str(record.exc_info[1]) for record in logged(caplog) if record.exc_info] == ["a path of ours"]
        assert await counted(server) == {"internal_error": 1}


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_what_an_engine_gives_up_is_counted_and_is_a_line_of_the_log(
    stream_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        fails_with(server, VoiceError("model_failed", "the voice is hoarse"), from_clause="And")
        body = {"input": TEXT, "response_format": "pcm", "stream_format": stream_format}
        if stream_format == "sse":
            assert '"code":"model_failed"' in (await client.post(SPEECH, json=body)).text
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(SPEECH, json=body)
        assert await counted(server) == {"model_failed": 1}
        lines = [record.getMessage() for record in logged(caplog) if record.name.startswith("voxtral_voice")]
        assert lines == [f"{SPEECH} ends with model_failed: the voice is hoarse"]


async def test_a_transcription_that_fails_is_counted_too() -> None:
    def fails(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
        yield Heard("a word", 0, "en")
        raise VoiceError("out_of_memory", "no memory left")

    async with serving() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        server.script.understander.transcribe = fails  # type: ignore[method-assign]
        recording = {"file": wav(steady(1))}
        assert (await client.post(TRANSCRIPTIONS, files=recording)).status_code == 503
        events = (await client.post(TRANSCRIPTIONS, files=recording, data={"stream": "true"})).text
        assert '"code":"out_of_memory"' in events.splitlines()[-2]
        assert await counted(server) == {"out_of_memory": 2}


@pytest.mark.parametrize("path", ["/v1/realtime", "/ws"])
async def test_so_are_those_that_a_socket_is_told(path: str) -> None:
    async with serving(overrides={"limits.sessions": 1}) as server:
        address = f"ws://127.0.0.1:{server.port}{path}"
        async with connect(address) as socket:
            await socket.recv()
            for wrong in ("no JSON", '{"type": "dance"}', '{"type": "dance"}'):
                await socket.send(wrong)
                assert json.loads(await socket.recv())["type"] == "error"
            async with connect(address) as another:
                assert "at_capacity" in str(await another.recv())
        assert await counted(server) == {"invalid_json": 1, "invalid_event": 2, "at_capacity": 1}
