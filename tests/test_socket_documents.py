"""The two small clients of docs/socket.md hold a conversation: with the scripts, and with the models."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from loaded_server import loaded
from model_fixtures import Recording, speech
from realtime_server import quick, serving
from scripted import Script
from sound_files import steady
from test_documents import blocks
from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm
from whole_program import Program
from worlds import LONG, words_wrong

__all__ = ["speech"]

DOCUMENT = (Path(__file__).parents[1] / "docs/socket.md").read_text(encoding="utf-8")
PYTHON, JAVASCRIPT = blocks(DOCUMENT, "python"), blocks(DOCUMENT, "javascript")

DRIVER = """
import { readFileSync } from 'node:fs';
import { converse } from './client.mjs';

const wav = readFileSync('question.wav');
const samples = new Int16Array(wav.buffer.slice(wav.byteOffset + 44, wav.byteOffset + wav.length));
const size = 800;
let position = 0, done = 0, played = 0, flushed = 0, asked = false;
const talk = converse(process.env.URL, {
  key: process.env.VOXTRAL_API_KEY,
  play: (sound) => {
    played += sound.length;
    if (done === 1 && !asked) {  // in the middle of the second answer
      asked = true;
      talk.write('And now?');
    }
  },
  flush: () => { flushed += 1; },
  show: (message) => {
    console.log(JSON.stringify(message));
    if (message.type === 'error') process.exit(1);
    if (message.type !== 'conversation_complete') return;
    done += 1;
    if (done === 1) talk.write(process.env.LONG);
    if (done === 3) {
      console.log(JSON.stringify({ type: 'told', played, flushed }));
      talk.close();
      process.exit(0);
    }
  },
});
setInterval(() => {
  const frame = samples.slice(position, position + size);
  position += size;
  talk.hear(frame.length === size ? frame : new Int16Array(size));
}, 50);
"""


@dataclass(frozen=True)
class Place:
    """Where a client runs, and what it asks."""

    url: str
    folder: Path
    said: str
    """What is heard of question.wav."""

    async def run(self, *command: str) -> list[dict[str, object]]:
        """What the client prints: one message a line."""
        environment = {**os.environ, "URL": self.url, "VOXTRAL_API_KEY": "a-key", "LONG": LONG}
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(120):
                out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode()
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]


def long_winded(parts: Script) -> None:
    """What is written is answered at a length that can be interrupted, however slow the machine is."""
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + ("That is all. " * (100 if said == LONG else 1))


@pytest.fixture(params=["scripted", pytest.param("models", marks=pytest.mark.models)])
def models(request: pytest.FixtureRequest) -> tuple[Program, Recording] | None:
    """None: the scripts take their place."""
    if request.param == "scripted":
        return None
    return request.getfixturevalue("program"), request.getfixturevalue("speech")


@asynccontextmanager
async def place(folder: Path, models: tuple[Program, Recording] | None) -> AsyncIterator[Place]:
    if models is None:
        folder.joinpath("question.wav").write_bytes(audio.to_wav(steady(0.6, 0.42, HEAR_HZ), HEAR_HZ))
        async with serving(long_winded, key="a-key") as server:
            yield Place(f"ws://127.0.0.1:{server.port}/ws", folder, "word42")
        return
    program, recording = models
    loud = recording.pcm * (0.3 / max(0.01, float(np.abs(recording.pcm).max())))
    folder.joinpath("question.wav").write_bytes(audio.to_wav(loud, HEAR_HZ))
    async with loaded(program) as url:
        yield Place(url.replace("http", "ws", 1) + "/ws", folder, recording.text)


def sound_of(file: Path) -> Pcm:
    with wave.open(str(file)) as wav:
        assert wav.getframerate() == SPEAK_HZ
        return audio.from_pcm16(wav.readframes(1 << 24))


async def test_the_python_client_asks_and_is_answered(tmp_path: Path, models: tuple[Program, Recording] | None) -> None:
    (program,) = PYTHON
    assert len([line for line in program.splitlines() if line.strip()]) <= 25
    (tmp_path / "ask.py").write_text(program)
    async with place(tmp_path, models) as here:
        messages = await here.run(sys.executable, "ask.py")
        assert [each["type"] for each in messages[:2]] == ["connection", "connection"]
        done = messages[-1]
        assert (done["type"], done["status"]) == ("conversation_complete", "completed")
        heard = "".join(str(each["text"]) for each in messages if each["type"] == "transcription")
        assert words_wrong(here.said, heard) <= (0.2 if models else 0)
        answer, text = sound_of(tmp_path / "answer.wav"), str(done["text"])
        assert text
        if models is not None:
            assert words_wrong(text, await models[0].write_down(answer)) <= 0.25
        else:
            assert text == "You said word42. That is all."
            assert len(answer) / SPEAK_HZ == pytest.approx(6 * 0.12, abs=0.01)


def node() -> list[str]:
    """Node with a WebSocket; skips where there is none."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("there is no node on this machine")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.strip().removeprefix("v").split(".")[0])
    if major < 20:
        pytest.skip(f"node {version.strip()} has no WebSocket")
    return [path] if major >= 22 else [path, "--experimental-websocket"]


async def test_the_javascript_client_talks_writes_and_interrupts(
    tmp_path: Path, models: tuple[Program, Recording] | None
) -> None:
    command = node()
    (program,) = JAVASCRIPT
    (tmp_path / "client.mjs").write_text(program)
    (tmp_path / "driver.mjs").write_text(DRIVER)
    async with place(tmp_path, models) as here:
        messages = await here.run(*command, "driver.mjs")
        done = [each for each in messages if each["type"] == "conversation_complete"]
        assert [each["status"] for each in done] == ["completed", "interrupted", "completed"]
        heard = "".join(str(each["text"]) for each in messages if each["type"] == "transcription")
        assert words_wrong(here.said, heard) <= (0.2 if models else 0)
        told = messages[-1]
        assert told["flushed"] == 1
        assert isinstance(told["played"], int)
        assert told["played"] > SPEAK_HZ // 2
