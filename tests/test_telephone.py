"""Somebody on the telephone: eight bits a sample, 8 kHz, both ways, coded and decoded by FFmpeg."""

from __future__ import annotations

import base64

import av
import numpy as np
import pytest

from loaded_server import loaded
from model_fixtures import Recording, speech
from realtime_client import Client, Message, connected
from realtime_client import speech as level
from realtime_server import serving
from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, Pcm
from whole_program import Program
from worlds import words_wrong

__all__ = ["speech"]

TELEPHONE_HZ = 8_000
FRAME_S = 0.02
CODECS = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}


def coded(pcm: Pcm, kind: str) -> bytes:
    """8 kHz to a byte a sample."""
    codec = av.CodecContext.create(CODECS[kind], "w")
    codec.sample_rate, codec.layout, codec.format = TELEPHONE_HZ, "mono", "s16"  # type: ignore[attr-defined]
    samples = np.frombuffer(audio.to_pcm16(pcm), "<i2").reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = TELEPHONE_HZ
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])  # type: ignore[attr-defined]


def decoded(data: bytes, kind: str) -> Pcm:
    """A byte a sample to 8 kHz."""
    codec = av.CodecContext.create(CODECS[kind], "r")
    codec.sample_rate, codec.layout = TELEPHONE_HZ, "mono"  # type: ignore[attr-defined]
    frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]  # type: ignore[attr-defined]
    return audio.from_pcm16(np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype("<i2").tobytes())


async def call(client: Client, said: Pcm, kind: str) -> tuple[str, Message, Pcm]:
    """Say it (8 kHz) in frames of 20 ms, all at once: a busy machine would make holes between them.

    Returns what was understood, the whole response, and the sound that came back.
    """
    session = await client.update(audio={"input": {"format": {"type": kind}}, "output": {"format": {"type": kind}}})
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": kind}
    data, frame = coded(said, kind), round(FRAME_S * TELEPHONE_HZ)
    for start in range(0, len(data), frame):
        sound = base64.b64encode(data[start : start + frame]).decode()
        await client.connection.input_audio_buffer.append(audio=sound)
    response = (await client.event("response.done", 60))["response"]
    (heard,) = client.all("conversation.item.input_audio_transcription.completed")
    answer = b"".join(base64.b64decode(each["delta"]) for each in client.all("response.output_audio.delta"))
    assert client.errors() == []
    return heard["transcript"], response, decoded(answer, kind)


@pytest.mark.parametrize("kind", CODECS)
async def test_every_word_is_heard_and_as_long_as_it_was_said(kind: str) -> None:
    async with serving() as server, connected(server.url, microphone=False) as client:
        silence = np.zeros(TELEPHONE_HZ, np.float32)
        understood, response, answer = await call(client, np.concatenate([level(0.4, 42, TELEPHONE_HZ), silence]), kind)
        assert abs(int(understood.removeprefix("word")) - 42) <= 2  # eight bits have steps of 0.016 there
        assert response["status"] == "completed"
        assert len(answer) / TELEPHONE_HZ == pytest.approx(6 * server.script.synthesizer.word_s, abs=0.05)
        assert float(np.median(np.abs(answer))) == pytest.approx(0.3, abs=0.02)


@pytest.mark.models
async def test_a_caller_is_understood_and_understands(program: Program, speech: Recording) -> None:
    said = audio.resample(speech.pcm, HEAR_HZ, TELEPHONE_HZ)
    silence = np.zeros(TELEPHONE_HZ, np.float32)
    async with loaded(program) as url, connected(url, microphone=False) as client:
        understood, response, answer = await call(client, np.concatenate([said, silence]), "audio/pcmu")
        assert words_wrong(speech.text, understood) <= 0.2, understood
        spoken = response["output"][0]["content"][0]["transcript"]
        assert understood in spoken
        assert words_wrong(spoken, await program.write_down(answer, TELEPHONE_HZ)) <= 0.2, spoken
