"""The HTTP endpoints as the official Python client meets them."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI

from realtime_server import Served, serving, until
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


async def test_text_is_read_aloud_as_a_wav_or_as_bare_samples() -> None:
    async with serving() as server, client_of(server) as client:
        expected = len(TEXT.split()) * server.script.synthesizer.word_s
        for voice in ("alloy", "hf_alpha"):  # of OpenAI's and of ours
            wav = await client.audio.speech.create(model="tts-1", voice=voice, input=TEXT, response_format="wav")
            assert wav.response.headers["content-type"] == "audio/wav"
            sound, rate = soundfile.read(io.BytesIO(wav.content))
            assert rate == SPEAK_HZ
            assert len(sound) / rate == pytest.approx(expected, abs=0.001)
        pcm = await client.audio.speech.create(model="x", voice="nova", input=TEXT, response_format="pcm")
        assert len(pcm.content) == round(expected * SPEAK_HZ) * 2
        assert np.frombuffer(pcm.content, "<i2").max() == round(0.3 * 32768)
        assert "".join(server.script.synthesizer.spoken[:2]) == TEXT


async def test_the_first_clause_is_heard_before_the_second_is_made() -> None:
    async with serving() as server, client_of(server) as client:
        made, speak, heard = server.script.synthesizer.spoken, server.script.synthesizer.speak, threading.Event()

        def waits(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            if clause.startswith("And"):
                heard.wait(60)
            yield from speak(clause, voice, cancel)

        server.script.synthesizer.speak = waits  # type: ignore[method-assign]
        request = client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=TEXT, response_format="pcm"
        )
        async with request as response:
            chunks = response.iter_bytes()
            first = await anext(chunks)
            assert len(first) > 0
            assert made == [TEXT[: TEXT.index("And")]]
            heard.set()
            rest = [chunk async for chunk in chunks]
        assert len(made) == 2
        assert rest


async def test_who_leaves_in_the_middle_stops_the_synthesis() -> None:
    async with serving() as server, client_of(server) as client:
        request = client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="A sentence of six short words. " * 40, response_format="pcm"
        )
        async with request as response:
            await anext(response.iter_bytes())
        await until(lambda: not server.script.engines.speak_worker._jobs)
        assert len(server.script.synthesizer.spoken) < 40


REFUSED: dict[str, tuple[dict[str, object], str, str | None]] = {
    "a voice misspelled": ({"voice": "af_hart"}, "unknown_voice", "voice"),
    "a voice of nobody's": ({"voice": "bob"}, "unknown_voice", "voice"),
    "mp3": ({"response_format": "mp3"}, "invalid_event", "response_format"),
    "too long": ({"input": "x" * 4097}, "invalid_event", "input"),
    "nothing to say": ({"input": ""}, "invalid_event", "input"),
    "no text": ({"input": None}, "invalid_event", "input"),
    "far too fast": ({"speed": 99}, "invalid_event", "speed"),
}


async def test_what_cannot_be_read_is_refused_with_the_field_to_mend() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
        for name, (change, code, param) in REFUSED.items():
            body = {"model": "tts-1", "voice": "alloy", "input": "Hello.", **change}
            answer = await client.post("/v1/audio/speech", json=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (400, code, param), name
            assert error["type"] == "invalid_request_error"
            assert error["message"]
        answer = await client.post("/v1/audio/speech", content=b'{"input": ')
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_event")
        answer = await client.post("/v1/audio/speech", content=b'{"input": "\xff"}')
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_event")
        assert server.script.synthesizer.spoken == []
        message = (await client.post("/v1/audio/speech", json={"input": "Hi", "voice": "af_hart"})).json()
        assert "af_heart" in message["error"]["message"]


async def test_the_clients_own_exceptions_carry_the_code() -> None:
    async with serving() as server, client_of(server) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.speech.create(model="tts-1", voice="af_hart", input="Hi", response_format="wav")
        assert refused.value.code == "unknown_voice"


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

    cases = [(fails, 503, "model_failed"), (nothing, 400, "invalid_event")]
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
        for speak, status, code in cases:
            server.script.synthesizer.speak = speak  # type: ignore[method-assign]
            answer = await client.post("/v1/audio/speech", json={"input": "Hello."})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
