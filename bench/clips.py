"""Speech to measure with: recordings that have a manifest, else sentences that Kokoro says on the spot."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voxtral_voice import audio, config, talk
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.speech import read_aloud
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm, Voice

_TAIL_S = 3.5
_SENTENCES = (
    ("af_heart", "How old is the Brooklyn Bridge?"),
    ("am_michael", "Turn on the lamp in the living room."),
    ("bf_emma", "Could you book a table for two people tomorrow evening?"),
    ("af_heart", "I have never been to Paris."),
    ("am_michael", "What is the weather like today?"),
    ("bf_emma", "My favourite animal is a dog."),
)


@dataclass(frozen=True)
class Pause:
    start_ms: float
    end_ms: float
    kind: str
    """mid (the thought is unfinished), complete (a clause had ended) or vad_dropout."""

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.start_ms


@dataclass(frozen=True)
class Clip:
    name: str
    pcm: Pcm
    """Shape [samples], 16 kHz, with its own noise behind it for 3.5 s."""
    text: str
    speech_end_ms: float
    """Last energetic frame."""
    pauses: tuple[Pause, ...] = ()
    has_transcript: bool = True
    ends_turn: bool = True
    """Its end is the end of what was said."""
    speech_start_ms: float = 0.0
    """First energetic frame."""
    noise: Pcm = field(default_factory=lambda: np.zeros(320, np.float32))
    """Two seconds of what the microphone hears where nothing is said."""


def recorded(folder: Path) -> list[Clip]:
    """The clips of a manifest.json."""
    items = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["items"]
    return [_recorded(folder, item) for item in items]


def _recorded(folder: Path, item: dict[str, Any]) -> Clip:
    pcm = audio.read(folder / item["file"], HEAR_HZ)
    level = 10 ** (item["noise_floor_dbfs"] / 20)
    noise = (np.random.default_rng(7).standard_normal(round(_TAIL_S * HEAR_HZ)) * level).astype(np.float32)
    to_ms = 1000 / HEAR_HZ
    pauses = tuple(Pause(p["start"] * to_ms, p["end"] * to_ms, p["kind"]) for p in item["pauses"])
    return Clip(
        name=item["id"],
        pcm=np.concatenate([pcm, noise]),
        text=item["text"],
        speech_end_ms=item["speech_end_energy"] * to_ms,
        pauses=pauses,
        has_transcript=item["wer_usable"],
        ends_turn=item["final_end_is_turn_end"],
        speech_start_ms=item["speech_start_energy"] * to_ms,
        noise=noise[: 2 * HEAR_HZ],
    )


def sounds(folder: Path, kind: Literal["non_speech", "backchannels"]) -> list[tuple[str, Pcm]]:
    """(name, shape [samples] at 16 kHz) of the manifest's noises and music, or of its "yeah" and "mm"."""
    items = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get(kind, [])
    return [(item["file"], audio.read(folder / item["file"], HEAR_HZ)) for item in items]


async def of(folder: Path | None) -> list[Clip]:
    """The clips of a manifest's folder, or, without one, of Kokoro, which is loaded for it and let go again."""
    if folder is not None:
        return recorded(folder)
    settings = config.load(overrides={"engines.reply": "template"})
    async with talk.loaded(settings) as engines:
        return await spoken(engines, settings)


async def spoken(engines: Engines, settings: Config) -> list[Clip]:
    """Sentences that Kokoro says in three voices."""
    clips = []
    for number, (voice, text) in enumerate(_SENTENCES):
        async with aclosing(read_aloud(text, Voice(voice), engines, settings)) as parts:
            pcm = audio.resample(np.concatenate([part async for part in parts]), SPEAK_HZ, HEAR_HZ)
        loud = np.flatnonzero(np.abs(pcm) > 0.02 * np.max(np.abs(pcm)))
        tail = np.random.default_rng(number).standard_normal(round(_TAIL_S * HEAR_HZ)).astype(np.float32) * 1e-4
        lead = np.zeros(HEAR_HZ // 2, np.float32)
        end_ms = (len(lead) + int(loud[-1])) * 1000 / HEAR_HZ
        start_ms = (len(lead) + int(loud[0])) * 1000 / HEAR_HZ
        clips.append(
            Clip(
                f"{voice}-{number}",
                np.concatenate([lead, pcm, tail]),
                text,
                end_ms,
                speech_start_ms=start_ms,
                noise=tail[: 2 * HEAR_HZ],
            )
        )
    return clips
