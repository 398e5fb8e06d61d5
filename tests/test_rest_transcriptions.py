"""Recordings written down over HTTP, as the official Python client and others send them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from realtime_server import Served, serving, until
from sound_files import contained, encoded, flac_bomb, steady, wav
from voxtral_voice.engines.stretches import stretches
from voxtral_voice.types import Cancel, Heard, Pcm, VoiceError

PATH = "/v1/audio/transcriptions"
ONE = wav(steady(1))
WORDS = "word42 word42 word42"  # a second is three of them, as the script has it


@asynccontextmanager
async def client_of(server: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def numbered(server: Served, held: threading.Event | None = None) -> None:
    """The engine hears the number of each stretch of 28 s at most; `held`: the second one is not heard before it."""

    def transcribe(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
        for part, _ in enumerate(stretches(pcm)):
            if part == 1 and held is not None:
                assert held.wait(60)
            if part != 2:  # nobody says anything there
                yield Heard(f"stretch {part}", part, "en")

    server.script.understander.transcribe = transcribe  # type: ignore[method-assign]


def long_recording() -> bytes:
    """80 s, in stretches that end in the quiet moments at 25, 50 and 75 s."""
    pcm = steady(80, hz=8_000)
    for second in (25, 50, 75):
        pcm[second * 8_000 - 2000 : second * 8_000 + 2000] = 0
    return wav(pcm, 8_000)


async def test_a_recording_becomes_text() -> None:
    async with serving() as server, client_of(server) as client:
        create = client.audio.transcriptions.create
        told = await create(
            model="whisper-1", file=("question.wav", ONE), language="en-US", prompt="Hm.", temperature=0
        )
        assert told.text == WORDS
        assert told.usage is not None
        assert told.usage.to_dict() == {"type": "duration", "seconds": 1.0}
        plain = await create(
            model="gpt-4o-transcribe", file=("x.mp3", encoded(steady(1), "mp3")), response_format="text"
        )
        assert str(plain).strip().startswith("word")
        for data in (encoded(steady(1), "flac"), contained(steady(1, hz=44_100), "mp4", "alac", 44_100)):
            assert (await create(model="x", file=("../../etc/passwd", data))).text == WORDS


async def test_segments_have_the_times_that_are_known() -> None:
    async with serving() as server, client_of(server) as client:
        numbered(server)
        told = await client.audio.transcriptions.create(
            model="whisper-1",
            file=("long.wav", long_recording()),
            response_format="verbose_json",
            timestamp_granularities=["segment"],
        )
        assert (told.text, told.duration, told.language) == ("stretch 0 stretch 1 stretch 3", 80.0, "en")
        assert told.segments is not None
        assert [(each.id, each.text) for each in told.segments] == [
            (0, "stretch 0"),
            (1, "stretch 1"),
            (2, "stretch 3"),
        ]
        times = [(each.start, each.end) for each in told.segments]
        assert times == [
            (0.0, pytest.approx(25, abs=0.3)),
            (times[0][1], pytest.approx(50, abs=0.3)),
            (times[2][0], 80.0),
        ]
        assert times[2][0] == pytest.approx(75, abs=0.3)
        assert told.segments[1].seek == round(times[1][0] * 100)


async def test_words_come_while_the_rest_is_heard() -> None:
    async with serving() as server, client_of(server) as client:
        held = threading.Event()
        numbered(server, held)
        stream = await client.audio.transcriptions.create(
            model="gpt-4o-mini-transcribe", file=("long.wav", long_recording()), stream=True
        )
        deltas, done = [], None
        async for event in stream:
            held.set()  # the first one has come before
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            elif event.type == "transcript.text.done":
                done = event.text
        assert deltas == ["stretch 0", " stretch 1", " stretch 3"]
        assert done == "".join(deltas)


async def test_where_nothing_is_said_there_is_no_text() -> None:
    async with serving() as server, client_of(server) as client:
        server.script.understander.transcribe = lambda pcm, language, cancel: iter(())  # type: ignore[method-assign]
        create = client.audio.transcriptions.create
        assert (await create(model="x", file=("x.wav", ONE))).text == ""
        verbose = await create(model="x", file=("x.wav", ONE), response_format="verbose_json")
        assert (verbose.text, verbose.segments, verbose.language) == ("", [], "en")
        stream = await create(model="x", file=("x.wav", ONE), stream=True)
        assert [event.type async for event in stream] == ["transcript.text.done"]


async def test_what_fails_has_a_status_before_the_first_words_and_an_event_behind_them() -> None:
    async with serving() as server, client_of(server) as client:

        def fails(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            if len(pcm) > 2 * 16_000:
                yield Heard("a word", 0, "en")
            raise VoiceError("out_of_memory", "no memory left for this recording")

        server.script.understander.transcribe = fails  # type: ignore[method-assign]
        create = client.audio.transcriptions.create
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as refused:
                await create(model="x", file=("x.wav", ONE), stream=stream)
            assert (refused.value.status_code, refused.value.code) == (503, "out_of_memory")
        events = await create(model="x", file=("x.wav", wav(steady(3))), stream=True)
        assert (await anext(events)).type == "transcript.text.delta"
        with pytest.raises(openai.APIError) as failed:
            await anext(events)
        assert failed.value.code == "out_of_memory"


Fields = dict[str, str]
REFUSED: dict[str, tuple[Fields, bytes | None, int, str, str | None]] = {
    "no file": ({}, None, 400, "invalid_event", "file"),
    "subtitles": ({"response_format": "srt"}, ONE, 400, "invalid_event", "response_format"),
    "word times": ({"timestamp_granularities[]": "word"}, ONE, 400, "invalid_event", "timestamp_granularities"),
    "hot": ({"temperature": "7"}, ONE, 400, "invalid_event", "temperature"),
    "not a number": ({"temperature": "nan"}, ONE, 400, "invalid_event", "temperature"),
    "Klingon": ({"language": "tlh"}, ONE, 400, "invalid_event", "language"),
    "a path": ({"language": "../../x"}, ONE, 400, "invalid_event", "language"),
    "no sound": ({}, b"hello", 400, "invalid_audio", "file"),
    "an address": ({"file": "http://169.254.169.254/x.wav"}, None, 400, "invalid_event", "file"),
    "too long": ({}, flac_bomb(0.05), 400, "turn_too_long", "file"),
    "too large": ({}, bytes(100_000), 413, "message_too_large", None),
    "a large field": ({"prompt": "x" * 70_000}, ONE[:1000], 400, "invalid_event", None),
}


async def test_what_cannot_be_written_down_is_refused_with_the_field_to_mend() -> None:
    limits: dict[str, object] = {"limits.upload_audio_s": 100, "server.upload_bytes": 90_000}
    async with serving(overrides=limits) as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for name, (fields, data, status, code, param) in REFUSED.items():
            files = {"file": ("x.wav", data)} if data is not None else {"unrelated": ("x", b"x")}
            answer = await client.post(PATH, data=fields, files=files)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (status, code, param), (name, error)
            assert "/tmp" not in error["message"]
        for kind in (
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "multipart/form-data; boundary=x; charset=undefined",
            "multipart/form-data; boundary=x; charset=punycode",
        ):
            form = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--x--\r\n'
            answer = await client.post(PATH, content=form, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_event"), kind
        answer = await client.post(PATH, files={"file": ("x.wav", ONE[:20_000])})
        assert answer.status_code == 200, "it lives"
        assert server.script.understander.seen == []


async def test_an_upload_is_cut_off_where_it_is_too_large_or_too_slow() -> None:
    limits: dict[str, object] = {"server.upload_bytes": 1 << 20, "server.upload_timeout_s": 1}
    async with serving(overrides=limits) as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

        async def large() -> AsyncIterator[bytes]:
            yield head
            for _ in range(40):
                yield bytes(65_536)

        answer = await client.post(PATH, content=large(), headers=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "message_too_large")

        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        asked = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {form['Content-Type']}\r\nContent-Length: 1000\r\n\r\n"
        )
        writer.write(asked.encode() + head)
        said = await asyncio.wait_for(reader.read(), 60)  # to its end: the connection is closed
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in said
        writer.close()


async def test_who_leaves_stops_the_recogniser() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        begun, cancelled = threading.Event(), threading.Event()

        def slow(pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
            begun.set()
            cancel.on_set(cancelled.set)
            assert cancelled.wait(60)
            yield from ()

        server.script.understander.transcribe = slow  # type: ignore[method-assign]
        for stream in ("false", "true"):
            begun.clear()
            cancelled.clear()
            asking = asyncio.create_task(client.post(PATH, data={"stream": stream}, files={"file": ONE}))
            await until(begun.is_set)
            asking.cancel()
            await until(cancelled.is_set)
            await until(lambda: not server.script.engines.understand_worker._jobs)


async def test_the_key_is_needed_and_the_form_is_described() -> None:
    async with serving(key="a-key") as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.post(PATH, files={"file": ONE})).status_code == 401
        shown = (await client.get("/openapi.json", headers={"X-API-Key": "a-key"})).json()
        body = shown["paths"][PATH]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert {"file", "model", "language", "response_format", "stream"} <= set(body["properties"])
        assert json.dumps(shown)
