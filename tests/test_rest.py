"""The HTTP endpoints as the official Python client meets them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import av
import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI

from realtime_server import Served, serving, until
from voxtral_voice import audio
from voxtral_voice.encode import Encoding
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm, Voice, VoiceError
from voxtral_voice.voices import VOICES

TEXT = "This is the first sentence. And here comes the second one, a little later."


@asynccontextmanager
async def client_of(server: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        yield client


async def test_the_models_and_the_voices_are_listed() -> None:
    async with serving() as server, client_of(server) as client:
        models = await client.models.list()
        assert [model.object for model in models.data] == ["model"]
        voices = (await server.get("/v1/audio/voices")).json()
        assert {voice["id"] for voice in voices["data"]} == set(VOICES)
        assert len(voices["data"]) == 54
        assert set(voices["data"][0]) == {"id", "language", "gender"}
        assert voices["aliases"]["alloy"] in VOICES
        assert voices["default"] in VOICES


def browser_of(server: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


JSON = {"Content-Type": "application/json"}
FORMATS: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm;rate=24000",
}


def sound_of(data: bytes, encoding: str) -> tuple[Pcm, int]:
    """What a player hears, and its rate."""
    if encoding == "pcm":
        return audio.from_pcm16(data), SPEAK_HZ
    with av.open(io.BytesIO(data), "r") as file:
        frames = list(file.decode(audio=0))
        flat = av.AudioResampler(format="flt", layout="mono")
        parts = [part.to_ndarray()[0] for frame in frames for part in flat.resample(frame)]
        return np.concatenate(parts), frames[0].sample_rate


def whistle(start: int, samples: int) -> Pcm:
    """A steady 440 Hz, from its sample `start` on."""
    at = np.arange(start, start + samples) / SPEAK_HZ
    return (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def held_up(server: Served) -> threading.Event:
    """The second clause is not made before this is set. Both are parts of one whistle."""
    speak, heard, whistled = server.script.synthesizer.speak, threading.Event(), 0

    def waits(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        nonlocal whistled
        if clause.startswith("And"):
            assert heard.wait(60)
        for pcm in speak(clause, voice, cancel):
            yield whistle(whistled, len(pcm))
            whistled += len(pcm)

    server.script.synthesizer.speak = waits  # type: ignore[method-assign]
    return heard


@pytest.mark.parametrize("encoding", FORMATS)
async def test_in_every_format_the_first_clause_is_heard_before_the_second_is_made(encoding: Encoding) -> None:
    async with serving() as server, client_of(server) as client:
        made, heard = server.script.synthesizer.spoken, held_up(server)
        request = client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=TEXT, response_format=encoding
        )
        async with request as response:
            assert response.headers["content-type"] == FORMATS[encoding]
            chunks = response.iter_bytes()
            first = await anext(chunks)
            assert made == [TEXT[: TEXT.index("And")]]
            heard.set()
            data = first + b"".join([chunk async for chunk in chunks])
        assert "".join(made) == TEXT
        sound, hz = sound_of(data, encoding)
        seconds = len(TEXT.split()) * server.script.synthesizer.word_s
        assert len(sound) / hz == pytest.approx(seconds, abs=0.1)  # mp3 and aac begin and end with padding
        inner = sound[hz // 5 : -(hz // 5)]  # its two ends fade
        pieces = inner[: len(inner) // (hz // 50) * (hz // 50)].reshape(-1, hz // 50)  # of 20 ms
        # One encoder for both clauses: a seam would be a dip or a click.
        assert np.sqrt(np.square(pieces).mean(axis=1)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
        assert np.abs(np.diff(inner)).max() < 0.3 * 2 * np.pi * 440 / hz * 1.5


@pytest.mark.parametrize("encoding", ["mp3", "pcm"])
async def test_in_server_sent_events_too(encoding: Encoding) -> None:
    async with serving() as server, client_of(server) as client:
        made, heard = server.script.synthesizer.spoken, held_up(server)
        request = client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="coral", input=TEXT, response_format=encoding, stream_format="sse"
        )
        events = []
        async with request as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for line in response.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                    assert len(made) == 1 or heard.is_set()
                    heard.set()
        *deltas, done = events
        assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
        sound, hz = sound_of(b"".join(base64.b64decode(delta["audio"]) for delta in deltas), encoding)
        seconds = len(TEXT.split()) * server.script.synthesizer.word_s
        assert len(sound) / hz == pytest.approx(seconds, abs=0.1)
        frames = round(seconds / 0.025)
        usage = {"input_tokens": len(TEXT), "output_tokens": frames, "total_tokens": len(TEXT) + frames}
        assert done == {"type": "speech.audio.done", "usage": usage}


async def test_the_body_may_be_as_openai_has_it() -> None:
    async with serving() as server, client_of(server) as client:
        heard: list[Voice] = []
        speak = server.script.synthesizer.speak

        def noted(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            heard.append(voice)
            yield from speak(clause, voice, cancel)

        server.script.synthesizer.speak = noted  # type: ignore[method-assign]
        create = client.audio.speech.create
        plain = await create(model="tts-1", voice="alloy", input="Hello.")
        assert plain.response.headers["content-type"] == "audio/mpeg"
        await create(model="whatever", voice="hf_alpha", input="Hello.", speed=4, instructions="Whisper.")
        await create(model="x", voice="a_voice_of_nobodys", input="Hello.", speed=0.25)
        await create(model="x", voice={"id": "am_adam"}, input="Hello.", extra_body={"unknown": [1]})
        usual = server.config.voice.name
        assert heard == [Voice("af_alloy"), Voice("hf_alpha", 2.0), Voice(usual, 0.5), Voice("am_adam")]


async def test_who_leaves_in_the_middle_stops_the_synthesis() -> None:
    async with serving() as server, client_of(server) as client:
        request = client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="A sentence of six short words. " * 40, response_format="pcm"
        )
        async with request as response:
            await anext(response.iter_bytes())
        await until(lambda: not server.script.engines.speak_worker._jobs)
        assert len(server.script.synthesizer.spoken) < 40


async def test_who_leaves_before_the_first_sound_stops_it_too() -> None:
    async with serving() as server, browser_of(server) as client:
        begun, cancelled = threading.Event(), threading.Event()

        def slow(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            begun.set()
            cancel.on_set(cancelled.set)
            cancelled.wait(60)
            yield from ()

        server.script.synthesizer.speak = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(client.post("/v1/audio/speech", json={"input": "Hello."}))
        await until(begun.is_set)
        asking.cancel()
        await until(cancelled.is_set)
        await until(lambda: not server.script.engines.speak_worker._jobs)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_what_fails_later_is_no_complete_answer(stream_format: str) -> None:
    async with serving() as server, browser_of(server) as client:
        speak = server.script.synthesizer.speak

        def fails(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            if clause.startswith("And"):
                raise VoiceError("model_failed", "the voice is hoarse")
            yield from speak(clause, voice, cancel)

        server.script.synthesizer.speak = fails  # type: ignore[method-assign]
        body = {"input": TEXT, "response_format": "pcm", "stream_format": stream_format}
        async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
            assert answer.status_code == 200
            if stream_format == "sse":
                lines = [line async for line in answer.aiter_lines() if line]
                last = json.loads(lines[-1].removeprefix("data: "))
                assert (last["type"], last["error"]["code"]) == ("error", "model_failed")
            else:
                received = b""
                with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
                    async for chunk in answer.aiter_bytes():
                        received += chunk
                assert len(received) == round(5 * server.script.synthesizer.word_s * SPEAK_HZ) * 2


async def test_so_many_at_once_and_the_next_is_told_to_come_again() -> None:
    async with serving(overrides={"limits.requests": 1}) as server, browser_of(server) as client:
        heard = held_up(server)
        body = {"input": TEXT, "response_format": "pcm"}
        async with client.stream("POST", "/v1/audio/speech", json=body) as under_way:
            refused = await client.post("/v1/audio/speech", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "at_capacity")
            assert int(refused.headers["retry-after"]) > 0
            upload = await client.post("/v1/audio/transcriptions", files={"file": b"RIFF"})
            assert upload.json()["error"]["code"] == "at_capacity"
            heard.set()
            assert len(await under_way.aread()) > 0
        # Its place is free once the server has seen the end of it too.
        while (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


REFUSED: dict[str, tuple[dict[str, object], str, str | None]] = {
    "no voice at all": ({"voice": 7}, "invalid_event", "voice"),
    "a format of nobody's": ({"response_format": "midi"}, "invalid_event", "response_format"),
    "half a character": ({"input": "\ud800"}, "invalid_event", "input"),
    "too long": ({"input": "x" * 4097}, "invalid_event", "input"),
    "nothing to say": ({"input": ""}, "invalid_event", "input"),
    "no text": ({"input": None}, "invalid_event", "input"),
    "far too fast": ({"speed": 99}, "invalid_event", "speed"),
}


async def test_what_cannot_be_read_is_refused_with_the_field_to_mend() -> None:
    async with serving() as server, browser_of(server) as client:
        for name, (change, code, param) in REFUSED.items():
            body = {"model": "tts-1", "voice": "alloy", "input": "Hello.", **change}
            answer = await client.post("/v1/audio/speech", content=json.dumps(body), headers=JSON)
            error = answer.json()["error"]
            told = (answer.status_code, error["type"], error["code"], error["param"])
            assert told == (400, "invalid_request_error", code, param), name
        for content in (b'{"input": ', b'{"input": "\xff"}'):
            answer = await client.post("/v1/audio/speech", content=content, headers=JSON)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_event")
        assert server.script.synthesizer.spoken == []


async def test_the_clients_own_exceptions_carry_the_code() -> None:
    async with serving() as server, client_of(server) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.speech.create(model="tts-1", voice="alloy", input="x" * 4097)
        assert (refused.value.code, refused.value.param) == ("invalid_event", "input")


@pytest.mark.parametrize("state", ["loading", "failed"])
async def test_without_models_speech_is_refused_and_the_lists_are_there(state: str) -> None:
    async with serving(state="loading") as server, client_of(server) as client:
        if state == "failed":
            server.manager.become("failed")
        with pytest.raises(openai.InternalServerError) as refused:
            await client.audio.speech.create(model="tts-1", voice="alloy", input="Hi", response_format="wav")
        assert refused.value.status_code == 503
        assert refused.value.code == {"loading": "model_loading", "failed": "model_failed"}[state]
        assert int(refused.value.response.headers["retry-after"]) > 0
        assert (await client.models.list()).data


async def test_what_fails_before_the_first_sound_has_a_status_and_a_reason() -> None:
    def fails(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        raise VoiceError("model_failed", "no phonemes for ja")
        yield

    def nothing(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        yield from ()

    def breaks(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        raise RuntimeError("a path of ours")
        yield

    cases = [(fails, 503, "model_failed"), (nothing, 400, "invalid_event"), (breaks, 500, "internal_error")]
    async with serving() as server, browser_of(server) as client:
        for speak, status, code in cases:
            server.script.synthesizer.speak = speak  # type: ignore[method-assign]
            answer = await client.post("/v1/audio/speech", json={"input": "Hello."})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert "path" not in answer.text
