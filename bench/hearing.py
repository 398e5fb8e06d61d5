"""A long turn heard in pieces: what it saves at the last pause, and what it costs in words.

    python -m bench.hearing [--audio DIR] [--quick] [--json FILE]

Recordings run through the voice detector, the end-of-turn model and the TurnTaker on the sample clock. At every pause
the turn so far is heard, as for the drafts of a session: in pieces, by what hears only what follows a beginning heard
before, and at the last pause also whole, by turns. Without recordings one person after the other says the sentences,
a short pause between two, as one long turn.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench.clips import Clip, recorded, spoken
from bench.report import Report, arguments
from bench.turn_taking import Listened
from bench.words import wrong
from voxtral_voice import config, talk
from voxtral_voice.engines.cascade import Listener
from voxtral_voice.engines.heard_before import HeardBefore
from voxtral_voice.engines.whisper import Whisper
from voxtral_voice.models.store import from_config
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.types import HEAR_HZ, Pcm, Step

_PAUSE_S = 0.3  # between two sentences: the turn goes on behind it
_TIMES = 3  # each last pause is heard so often either way


@dataclass(frozen=True, slots=True)
class Heard:
    """The last hearing of one turn."""

    whole: str
    pieces: str
    whole_ms: float
    pieces_ms: float
    begun: bool
    """Its beginning was known."""


class Overheard:
    """A `cascade.Listener` around another one that remembers how much it was given last."""

    def __init__(self, listener: Listener) -> None:
        self.languages = listener.languages
        self._listener = listener
        self.samples = 0

    def stretches(self, pcm: Pcm, language: str) -> Iterator[tuple[str, str] | Step]:
        self.samples = len(pcm)
        return self._listener.stretches(pcm, language)


def hear(listener: Listener, pcm: Pcm) -> tuple[str, float]:
    """Words of `pcm` (shape [samples], 16 kHz) and the ms that they took."""
    started = time.perf_counter()
    found = [each[0] for each in listener.stretches(pcm, "en") if not isinstance(each, Step)]
    return " ".join(filter(None, found)), 1000 * (time.perf_counter() - started)


def turns(listened: Listened, pauses: list[tuple[int, int]], whisper: Listener) -> list[Heard]:
    """`pauses`: (where the turn begins, where it paused), in samples of the clip."""
    overheard = Overheard(whisper)
    pieces = HeardBefore(overheard)
    found = []
    for start in dict.fromkeys(start for start, _ in pauses):
        *drafts, last = [listened.sound(start, at) for begun, at in pauses if begun == start]
        for draft in drafts:
            hear(pieces, draft)
        times: list[tuple[float, float]] = []
        for _ in range(_TIMES):
            all_of_it, whole_ms = hear(whisper, last)
            joined, pieces_ms = hear(pieces, last)
            times.append((whole_ms, pieces_ms))
        whole_ms, pieces_ms = (statistics.median(each) for each in zip(*times, strict=True))
        found.append(Heard(all_of_it, joined, whole_ms, pieces_ms, begun=overheard.samples < len(last)))
    return found


def tabulate(report: Report, found: list[tuple[Clip, list[Heard]]]) -> None:
    written = [(clip.text, heard) for clip, heard in found if clip.has_transcript]
    whole, said = wrong([(text, " ".join(turn.whole for turn in heard)) for text, heard in written])
    pieces, _ = wrong([(text, " ".join(turn.pieces for turn in heard)) for text, heard in written])
    report.figure("words wrong, heard whole", whole, said, "words")
    report.figure("words wrong, heard in pieces", pieces, said, "words")
    all_turns = [turn for _, heard in found for turn in heard]
    begun = [turn for turn in all_turns if turn.begun]
    report.figure("turns whose beginning was known", len(begun), len(all_turns), "turns")
    report.values("their last hearing, whole", [turn.whole_ms for turn in begun])
    report.values("their last hearing, in pieces", [turn.pieces_ms for turn in begun])
    report.ratio(
        "last hearing, in pieces / whole", [turn.pieces_ms for turn in begun], [turn.whole_ms for turn in begun]
    )


def in_one_turn(clips: list[Clip]) -> Clip:
    """All that they say, as one person's turn."""
    pause, parts = np.zeros(round(_PAUSE_S * HEAR_HZ), np.float32), list[Pcm]()
    for clip in clips:
        begin, end = (round(at_ms * HEAR_HZ / 1000) for at_ms in (clip.speech_start_ms, clip.speech_end_ms))
        parts += [clip.pcm[begin:end], pause]
    pcm = np.concatenate([pause, *parts, clips[-1].noise])
    spoken_ms = (len(pcm) - len(clips[-1].noise) - len(pause)) * 1000 / HEAR_HZ
    return Clip("sentences", pcm, " ".join(clip.text for clip in clips), spoken_ms)


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--delay-ms", type=int, default=50, help="until the end-of-turn model has answered")
    chosen = parser.parse_args()
    settings = config.load(overrides={"engines.reply": "template"})
    about = {"delay_ms": chosen.delay_ms, "audio": "recorded" if chosen.audio else "synthesised"}
    report = Report("hearing", about)
    rules = TurnRules.semantic(settings.turns, settings.vad)
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else [in_one_turn(await spoken(engines, settings))]
        clips = clips[:3] if chosen.quick else clips
        heard = [Listened(clip, engines) for clip in tqdm(clips, desc="listening", unit="clip")]
        taken = [each.run(rules, chosen.delay_ms) for each in heard]
    whisper = Whisper(from_config(settings).fetch("whisper_english"), threads=1)
    hear(whisper, heard[0].clip.pcm)  # the first time takes longer
    both = tqdm(zip(heard, taken, strict=True), desc="hearing", unit="clip", total=len(heard))
    tabulate(report, [(each.clip, turns(each, its.pauses, whisper)) for each, its in both])
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
