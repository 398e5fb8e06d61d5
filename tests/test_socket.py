"""The simple socket, as its smallest clients use it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime_server import Served, quick, serving
from scripted import Script
from simple_client import SimpleClient, simple
from sound_files import steady
from voxtral_voice import audio
from voxtral_voice.types import SPEAK_HZ, AudioPart, Cancel, Pcm, TextPart, Voice


def url(server: Served) -> str:
    return f"ws://127.0.0.1:{server.port}/ws"


def talkative(parts: Script) -> None:
    """Answers are long enough to be spoken over, however slow the machine is."""
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + "And so on it goes. " * 200


def heard(client: SimpleClient) -> str:
    return "".join(each["text"] for each in client.all("response_text")).strip()


@pytest.mark.parametrize("hz", [8_000, 44_100])
async def test_a_spoken_question_is_answered_aloud(hz: int) -> None:
    async with serving() as server, simple(url(server), hz=hz) as client:
        client.say(0.4, 42)
        done = await client.message("conversation_complete")
        assert done == {
            "type": "conversation_complete",
            "status": "completed",
            "reason": "",
            "text": "You said word42. That is all.",
        }
        assert client.all("transcription") == [{"type": "transcription", "text": "word42"}]
        assert heard(client) == done["text"]
        sounds = client.all("speech_response")
        data = b"".join(base64.b64decode(each["data"]) for each in sounds)
        assert len(data) // 2 / SPEAK_HZ == pytest.approx(6 * server.script.synthesizer.word_s, abs=0.01)
        assert sum(each["duration_ms"] for each in sounds) == pytest.approx(len(data) / 48, abs=len(sounds))
        assert np.frombuffer(data, "<i2").max() == round(0.3 * 32768)
        await asyncio.sleep(2 * server.config.playout.lead_ms / 1000)  # until the answer has been heard out, too
        client.say(0.4, 17)
        assert (await client.message("conversation_complete"))["text"] == "You said word17. That is all."
        assert client.all("error") == []
        assert "interruption" not in client.kinds()


@pytest.mark.parametrize("binary", [False, True])
async def test_sound_goes_both_ways_in_base64_or_in_binary(binary: bool) -> None:
    async with serving() as server, simple(url(server), microphone=False) as client:
        await client.send(type="connection", binary=binary)
        assert (await client.message("connection"))["binary"] is binary
        question = audio.to_pcm16(steady(0.5, 0.42, 16_000))  # and then nothing: silence is assumed
        if binary:
            await client.socket.send(question)
        else:
            await client.send(type="audio", data=base64.b64encode(question).decode())
        assert (await client.message("conversation_complete"))["text"] == "You said word42. That is all."
        frames = [each for each in client.log if isinstance(each, bytes)]
        deltas = [base64.b64decode(each["data"]) for each in client.all("speech_response")]
        assert bool(frames) is binary
        assert bool(deltas) is not binary
        seconds = len(b"".join(frames + deltas)) // 2 / SPEAK_HZ
        assert seconds == pytest.approx(6 * server.script.synthesizer.word_s, abs=0.01)


async def test_who_is_spoken_over_stops_and_the_client_flushes() -> None:
    async with serving(talkative) as server, simple(url(server)) as client:
        client.say(0.4, 42)
        await client.message("speech_response")
        client.say(1.0, 17)
        await client.message("interruption")
        done = await client.message("conversation_complete")
        assert (done["status"], done["reason"]) == ("interrupted", "turn_detected")
        assert "You said word42.".startswith(done["text"][:8])
        kinds = client.kinds()
        assert kinds[kinds.index("interruption") + 1] == "conversation_complete"
        await client.message("speech_response")
        assert client.all("transcription")[-1]["text"] == "word17"
        assert [
            part.text for part in server.script.understander.seen[-1][-1].parts if isinstance(part, AudioPart)
        ] != []


async def test_what_is_written_is_answered_and_stops_what_is_being_said() -> None:
    async with serving(talkative) as server, simple(url(server), microphone=False) as client:
        await client.send(type="text", text="First.")
        await client.message("speech_response")
        await client.send(type="text", text="Second.")
        await client.message("interruption")
        assert (await client.message("conversation_complete"))["reason"] == "client_cancelled"
        await client.message("speech_response")
        assert [part for part in server.script.understander.seen[-1][-1].parts] == [TextPart("Second.")]
        await client.send(type="interrupt")
        assert (await client.message("conversation_complete"))["status"] == "interrupted"
        await client.send(type="interrupt")  # of nothing
        await client.send(type="ping")
        await client.message("pong")
        assert client.all("error") == []
        assert client.all("transcription") == []


async def test_a_connection_is_as_the_client_wants_it() -> None:
    async with serving() as server, simple(url(server), microphone=False) as client:
        voices, speak = list[Voice](), server.script.synthesizer.speak

        def noted(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
            voices.append(voice)
            yield from speak(clause, voice, cancel)

        server.script.synthesizer.speak = noted  # type: ignore[method-assign]
        await client.send(type="connection", voice="onyx", speed=1.5, language="en-GB", instructions="Be brief.")
        told = await client.message("connection")
        assert {**told, "session_id": ""} == {
            "type": "connection",
            "session_id": "",
            "sample_rate_hz": 16_000,
            "output_sample_rate_hz": 24_000,
            "voice": "am_onyx",
            "language": "en",
            "speed": 1.5,
            "output": "audio",
            "binary": False,
        }
        assert told["session_id"].startswith("sess_")
        await client.send(type="text", text="Hello.")
        await client.message("conversation_complete")
        assert set(voices) == {Voice("am_onyx", 1.5)}
        await client.send(type="connection", output="text")
        await client.message("connection")
        sounds = len(client.all("speech_response"))
        await client.send(type="text", text="Hello.")
        assert (await client.message("conversation_complete"))["text"] == "You said Hello.. That is all."
        assert len(client.all("speech_response")) == sounds


async def test_what_is_written_goes_on_where_the_conversation_is_full() -> None:
    def brief(parts: Script) -> None:
        quick(parts)
        parts.understander.answer = lambda said: "Yes."

    full: dict[str, object] = {"limits.conversation_items": 16, "limits.conversation_bytes": 1 << 20}
    async with serving(brief, overrides=full) as server, simple(url(server), microphone=False) as client:
        await client.send(type="connection", output="text")
        seen = server.script.understander.seen
        for number in range(10):
            await client.send(type="text", text=f"Question {number}.")
            assert (await client.message("conversation_complete"))["status"] == "completed"
            assert seen[-1][-1].text == f"Question {number}."
        assert len(seen[-1]) == 16  # the last one is not answered yet
        for number in range(4):
            await client.send(type="text", text=f"{number}" * 400_000)
            assert (await client.message("conversation_complete"))["status"] == "completed"
        assert [message.text[:1] for message in seen[-1] if message.role == "user"] == ["2", "3"]
        assert client.all("error") == []


WRONG: list[tuple[str | bytes, str, str | None]] = [
    ("hello", "invalid_json", None),
    ("[1]", "invalid_event", "type"),
    ('{"type": "dance"}', "invalid_event", "type"),
    ('{"type": "audio"}', "invalid_event", "data"),
    ('{"type": "audio", "data": "!!"}', "invalid_audio", "data"),
    ('{"type": "audio", "data": "AA=="}', "invalid_audio", "data"),
    (b"\0", "invalid_audio", None),
    ('{"type": "text", "text": " "}', "invalid_event", "text"),
    ('{"type": "connection", "sample_rate_hz": 1}', "invalid_event", "sample_rate_hz"),
    ('{"type": "connection", "sample_rate_hz": 1e400}', "invalid_event", "sample_rate_hz"),
    ('{"type": "connection", "language": "tlh"}', "invalid_event", "language"),
    ('{"type": "connection", "voise": "af_heart"}', "invalid_event", "voise"),
    ('{"type": "text", "text": "\\ud800"}', "invalid_json", None),
    ("[" * 100_000, "invalid_json", None),
]


async def test_what_makes_no_sense_is_told_and_the_conversation_goes_on() -> None:
    async with serving() as server, simple(url(server), microphone=False) as client:
        for message, code, param in WRONG:
            await client.socket.send(message)
            error = await client.message("error")
            assert (error["code"], error["param"]) == (code, param), message[:60]
            assert error["message"]
        await client.send(type="text", text="Hello.")
        assert (await client.message("conversation_complete"))["status"] == "completed"


async def refused(server: Served, **more: Any) -> tuple[str, int | None]:
    """The code of the error, and of the close."""
    async with connect(url(server), **more) as socket:
        error = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert error["type"] == "error"
        return error["code"], closed.value.rcvd.code if closed.value.rcvd else None


async def test_the_door_is_the_same_as_everywhere() -> None:
    async with serving(key="a-key", overrides={"limits.sessions": 1}) as server:
        assert await refused(server) == ("unauthorized", 1008)
        shown = {"X-API-Key": "a-key"}
        assert await refused(server, additional_headers={**shown, "Origin": "https://evil.example"}) == (
            "forbidden_origin",
            1008,
        )
        async with connect(url(server), subprotocols=["realtime", "openai-insecure-api-key.a-key"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv())["type"] == "connection"
            assert await refused(server, additional_headers=shown) == ("at_capacity", 1013)
    async with serving(state="loading") as server:
        assert await refused(server) == ("model_loading", 1013)


async def test_who_goes_away_says_so() -> None:
    async with serving() as server, connect(url(server)) as socket:
        await socket.recv()
        server.runner.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
