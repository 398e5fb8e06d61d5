"""Where a conversation takes place: a server, three things to say to it, and an ear for what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import jiwer
import numpy as np
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

import realtime_client
from loaded_server import loaded
from model_fixtures import Recording
from realtime_server import quick, serving
from scripted import Script
from talker import audible_s
from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm
from whole_program import Program

LONG = (
    "The old lighthouse keeper walked down to the harbour every single morning and counted all of the boats before he "
    "wrote their names into his big green book."
)
LAMP = "Please turn on the lamp in the living room."
_WORD_S = 0.12
_normalise = EnglishTextNormalizer({})


@dataclass(frozen=True)
class Said:
    pcm: Pcm
    """24 kHz."""
    text: str


@dataclass(frozen=True)
class World:
    url: str
    questions: tuple[Said, Said, Said]
    """A short one, one whose answer is long, and one to interrupt that answer with."""
    misread: Callable[[Pcm, str], Awaitable[float]]
    """How far a sound at 24 kHz is from the words it should be; 0.0 is not at all."""


def words_wrong(truth: str, hypothesis: str) -> float:
    """The word error rate."""
    return float(jiwer.wer(_normalise(truth), _normalise(hypothesis) or "nothing"))


@asynccontextmanager
async def scripted_world() -> AsyncIterator[World]:
    def prepare(parts: Script) -> None:
        quick(parts)
        parts.synthesizer.word_s = _WORD_S
        more = "And this goes on for quite a while. " * 4
        parts.understander.answer = lambda said: f"You said {said}. " + (more if said == "word22" else "That is all.")

    async def misread(pcm: Pcm, text: str) -> float:
        expected_s = len(text.split()) * _WORD_S
        return abs(audible_s(pcm) - expected_s) / expected_s

    said = [Said(realtime_client.speech(0.6, level), f"word{level}") for level in (11, 22, 33)]
    async with serving(prepare) as server:
        yield World(server.url, (said[0], said[1], said[2]), misread)


@asynccontextmanager
async def real_world(program: Program, first: Recording) -> AsyncIterator[World]:
    """Real models, with template replies: what is answered is known."""

    async def misread(pcm: Pcm, text: str) -> float:
        return words_wrong(text, await program.write_down(pcm))

    def said(pcm: Pcm, text: str) -> Said:
        loud = pcm * (0.3 / max(0.01, float(np.max(np.abs(pcm)))))
        return Said(audio.resample(loud.astype(np.float32), HEAR_HZ, SPEAK_HZ), text)

    questions = (
        said(first.pcm, first.text),
        said(await program.say(LONG, "am_michael"), LONG),
        said(await program.say(LAMP, "bf_emma"), LAMP),
    )
    async with loaded(program) as url:
        yield World(url, questions, misread)
