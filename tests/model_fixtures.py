"""What tests of real models share: where the models are, and something said aloud."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from voxtral_voice import audio, config
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Cancel, Pcm, Voice

SPOKEN = "How old is the Brooklyn Bridge?"


@dataclass(frozen=True)
class Recording:
    name: str
    pcm: Pcm
    """16 kHz."""
    text: str
    wer_usable: bool


def model_folder(name: str) -> Path:
    """The folder of a fetched model; fails, never skips, because a marked test that runs must have its model."""
    folder = config.load().models.root / name
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: `voxtral-voice models fetch` brings it")
    return folder


def recordings() -> list[Recording]:
    """The recordings VOXTRAL_TEST_AUDIO names, in the order of its manifest; none without it."""
    named = os.environ.get("VOXTRAL_TEST_AUDIO")
    if not named:
        return []
    items = json.loads((Path(named) / "manifest.json").read_text(encoding="utf-8"))["items"]
    return [
        Recording(item["id"], audio.read(Path(named) / item["file"], HEAR_HZ), item["text"], item["wer_usable"])
        for item in items
    ]


@pytest.fixture(scope="session")
def speech() -> Recording:
    """One short question: a recording where there are any, our own voice otherwise."""
    for recording in recordings():
        if recording.name == "g_brooklyn":
            return recording
    return Recording("kokoro", say(SPOKEN, "af_heart"), SPOKEN, True)


def say(text: str, voice: str) -> Pcm:
    """Spoken by Kokoro, 16 kHz, half a second of silence after it."""
    from voxtral_voice.engines.kokoro_onnx import KokoroOnnx

    engine = KokoroOnnx(model_folder("kokoro_onnx"), model_folder("kokoro_voices"), threads=2)
    try:
        clauses = list(engine.speak(text, Voice(voice), Cancel()))
    finally:
        engine.close()
    pcm = audio.resample(np.concatenate(clauses), SPEAK_HZ, HEAR_HZ)
    return np.concatenate([pcm, np.zeros(HEAR_HZ // 2, np.float32)])


def noise(seconds: float, level: float = 0.02, seed: int = 0) -> Pcm:
    """White noise of a root mean square of `level`, 16 kHz."""
    return np.random.default_rng(seed).normal(0, level, int(seconds * HEAR_HZ)).astype(np.float32)


def tone(seconds: float, frequency_hz: float = 440.0) -> Pcm:
    """A sine at half scale, 16 kHz."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * HEAR_HZ)) / HEAR_HZ)).astype(np.float32)
