"""The program with its real models, loaded once for all tests that ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pytest

from voxtral_voice import audio, config
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.settings import SessionSettings
from voxtral_voice.speech import read_aloud
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm, Voice


@dataclass(frozen=True)
class Program:
    engines: Engines
    config: Config

    @property
    def settings(self) -> SessionSettings:
        return SessionSettings.of(self.config)

    async def say(self, text: str, voice: str) -> Pcm:
        """`text` as `voice` says it, at 16 kHz, in a moment of silence before and a long one behind."""
        async with aclosing(read_aloud(text, Voice(voice), self.engines, self.config)) as parts:
            pcm = np.concatenate([part async for part in parts])
        heard = audio.resample(pcm, SPEAK_HZ, HEAR_HZ)
        return np.concatenate([np.zeros(HEAR_HZ // 2, np.float32), heard, np.zeros(2 * HEAR_HZ, np.float32)])

    async def write_down(self, pcm: Pcm, rate_hz: int = SPEAK_HZ, language: str = "en") -> str:
        """What the recogniser makes of a sound."""
        heard = audio.resample(pcm, rate_hz, HEAR_HZ)
        stream = self.engines.understand_worker.stream(
            lambda cancel: self.engines.understander.transcribe(heard, language, cancel)
        )
        async with aclosing(stream) as stretches:
            return " ".join([each.text async for each in stretches])


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    """With template replies: what is answered is known."""
    settings = config.load(overrides={"engines.reply": "template"}, environ={})
    manager = ModelManager(settings)
    asyncio.run(manager.load())
    yield Program(manager.engines, settings)
    manager.close()
