"""The whole program on a Voxtral of random weights: nonsense words, the real path."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from model_fixtures import Recording
from realtime_client import Client, connected
from voxtral_voice import audio, config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.app import create_app
from voxtral_voice.server.run import Server
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm

pytestmark = pytest.mark.models


@asynccontextmanager
async def serving(environ: dict[str, str]) -> AsyncIterator[str]:
    """The address of a server with these settings, once it is ready."""
    settings = config.load(environ={"VOXTRAL_SERVER__HOST": "127.0.0.1", "VOXTRAL_SERVER__PORT": "0", **environ})
    server = Server(create_app(settings, ModelManager(settings)), settings)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        async with asyncio.timeout(300), httpx.AsyncClient(base_url=url) as client:
            while (await client.get("/ready")).status_code != 200:  # noqa: ASYNC110 (asked as a stranger would)
                await asyncio.sleep(0.1)
        yield url
    finally:
        server.should_exit = True
        await running


async def spoken_turn(client: Client, question: Pcm) -> bytes:
    """`question`: 24 kHz. Returns what is answered, 24 kHz PCM of 16 bits."""
    before = len(client.all("response.output_audio.delta"))
    await client.play(question)
    done = await client.event("response.done", timeout_s=300)
    assert done["response"]["status"] in ("completed", "incomplete")
    assert done["response"]["usage"]["output_tokens"] > 0
    return b"".join(base64.b64decode(each["delta"]) for each in client.all("response.output_audio.delta")[before:])


async def test_a_spoken_turn_in_and_sound_out(checkpoint: Path, speech: Recording) -> None:
    environ = {
        "VOXTRAL_MODELS__VOXTRAL": str(checkpoint),
        "VOXTRAL_ENGINES__UNDERSTANDER": "voxtral",
        "VOXTRAL_ENGINES__SYNTHESIZER": "kokoro-onnx",
        "VOXTRAL_ENGINES__PROFILE": "cpu",
        "VOXTRAL_REPLY__MAX_TOKENS": "16",
    }
    question = audio.resample(speech.pcm, HEAR_HZ, SPEAK_HZ)
    async with serving(environ) as url, httpx.AsyncClient(base_url=url) as http:
        models = (await http.get("/status")).json()["models"]
        assert models["voxtral"]["state"] == "ready"
        assert "whisper_english" not in models
        async with connected(url) as client:
            await client.update(
                audio={"input": {"transcription": {"model": "voxtral", "language": "en"}}}, type="realtime"
            )
            sounds = [await spoken_turn(client, question) for _ in range(2)]
            transcripts = client.all("conversation.item.input_audio_transcription.completed")
        assert len(transcripts) == 2
        assert all(transcript["transcript"] for transcript in transcripts)
    answered = np.frombuffer(b"".join(sounds), np.int16)
    assert len(answered) > SPEAK_HZ // 2
    assert np.abs(answered).max() > 3000
