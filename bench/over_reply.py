"""What stops a reply and what does not, on the sample clock: many more cases than bench.barge_in has time for.

    python -m bench.over_reply --audio DIR [--quick] [--json FILE]

Each recording is heard over a reply that goes on: as it is, and at four levels, shifted by parts of a voice detector's
window, with the office's noise 15 dB below it (noise and music: without that). The voice detector and the recogniser
are the real ones; a recogniser's answer is charged with the time that it takes beside a busy voice. After a stop the
rest of a piece no longer counts. Nothing is played, so there is no echo of the reply.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench import clips
from bench.barge_in import PIECE_S
from bench.peer.measure import over
from bench.report import Report, arguments
from voxtral_voice import config, interjections, talk
from voxtral_voice.audio import Framer
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.interjections import Meaning
from voxtral_voice.signals import AskWords, BargedIn, DuckStarted
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import TurnTaker
from voxtral_voice.types import HEAR_HZ, Cancel, Heard, Pcm

_LEVELS_DB = (-12, -6, 0, 6)
_SHIFTS = (0, 170, 340)
_NOISE_DB = -15.0
_LEAD_S, _TAIL_S = 1.0, 1.0  # of silence around a piece: for the detector to settle, and for what was said to end
_WORDS_LEAD = HEAR_HZ // 2  # what a session adds before and behind what was detected
_WORDS_TAIL = HEAR_HZ // 5


@dataclass(frozen=True)
class Piece:
    name: str
    pcm: Pcm
    """Shape [samples], 16 kHz."""
    speech_start_ms: float = 0.0
    as_recorded: bool = True


@dataclass(frozen=True)
class Found:
    piece: Piece
    ducks: int
    ducked_ms: float | None
    """From the labelled start of speech, as is the next."""
    stopped_ms: float | None
    by_words: bool
    heard_s: float


def variations(name: str, pcm: Pcm, start_ms: float, noise: Pcm | None) -> Iterator[Piece]:
    """`pcm` as it is, and otherwise; `noise` (shape [samples]): also with that behind it."""
    yield Piece(name, pcm, start_ms)
    begin = round(start_ms * HEAR_HZ / 1000)
    level = float(np.sqrt(np.mean(pcm[begin : begin + HEAR_HZ] ** 2)))
    chance = np.random.default_rng(3)
    for decibels in _LEVELS_DB:
        for shift in _SHIFTS:
            for behind in (None,) if noise is None else (None, noise):
                sound = np.concatenate([np.zeros(shift, np.float32), pcm])
                if behind is not None:
                    at = int(chance.integers(0, len(behind) - len(sound)))
                    part = behind[at : at + len(sound)]
                    sound = sound + part * (level / float(np.sqrt(np.mean(part**2))) * 10 ** (_NOISE_DB / 20))
                louder = np.clip(sound * 10 ** (decibels / 20), -1.0, 1.0).astype(np.float32)
                yield Piece(name, louder, start_ms + shift * 1000 / HEAR_HZ, as_recorded=False)


def words(engines: Engines, pcm: Pcm) -> str:
    outputs = engines.understander.transcribe(pcm, "en", Cancel())
    return " ".join(each.text for each in outputs if isinstance(each, Heard))


def listen(piece: Piece, engines: Engines, rules: TurnRules, delay_ms: int) -> Found:
    """`delay_ms`: until the words are known."""
    lead = round(_LEAD_S * HEAR_HZ)
    pcm = np.concatenate([np.zeros(lead, np.float32), piece.pcm, np.zeros(round(_TAIL_S * HEAR_HZ), np.float32)])
    taker, state = TurnTaker(rules), engines.detector.start()
    answers: list[tuple[int, int, Meaning]] = []  # (due, asked at, what the words mean)
    ducks, ducked = 0, None

    def since_speech_ms(at: int) -> float:
        return (at - lead) * 1000 / HEAR_HZ - piece.speech_start_ms

    for window in Framer(engines.detector.window_samples).push(pcm):
        probability, state = engines.detector.probability(window, state)
        by_words = []
        for due, asked_at, meaning in answers:
            if due <= taker.position + len(window):
                by_words += taker.words(asked_at, meaning)
        answers = [answer for answer in answers if answer[0] > taker.position + len(window)]
        for signal in (*by_words, *taker.window(probability, len(window), reply_heard=True)):
            if isinstance(signal, DuckStarted):
                ducks, ducked = ducks + 1, signal.at if ducked is None else ducked
            elif isinstance(signal, AskWords):
                heard = words(engines, pcm[max(0, signal.onset - _WORDS_LEAD) : signal.end + _WORDS_TAIL])
                due = signal.at + delay_ms * HEAR_HZ // 1000
                answers.append((due, signal.at, interjections.meaning(heard)))
            elif isinstance(signal, BargedIn):
                ducked_ms = None if ducked is None else since_speech_ms(ducked)
                heard_s = (signal.at - lead) / HEAR_HZ
                return Found(piece, ducks, ducked_ms, since_speech_ms(signal.at), signal in by_words, heard_s)
    return Found(
        piece, ducks, None if ducked is None else since_speech_ms(ducked), None, False, len(piece.pcm) / HEAR_HZ
    )


def tabulate(report: Report, kind: str, found: list[Found]) -> None:
    """`kind` speech: how soon, and what was not noticed. Else how often it stopped the reply."""
    stops = [each for each in found if each.stopped_ms is not None]
    by_words = sum(each.by_words for each in stops)
    if kind.startswith("speech"):
        report.values(f"{kind}: ducked", [each.ducked_ms for each in found if each.ducked_ms is not None])
        report.values(f"{kind}: stopped", [each.stopped_ms for each in stops if each.stopped_ms is not None])
        report.figure(f"{kind}: not stopped", len(found) - len(stops), len(found), "cases")
    else:
        minutes = sum(each.heard_s for each in found) / 60
        report.figure(f"{kind}: stopped", len(stops), len(found), "cases")
        report.figure(f"{kind}: in {minutes:.1f} min, stops a minute", len(stops) / minutes, len(found), "/min")
        report.figure(f"{kind}: ducks a minute", sum(each.ducks for each in found) / minutes, len(found), "/min")
    report.figure(f"{kind}: stopped by the words", by_words, len(found), "cases")
    wrong = {each.piece.name for each in found if (each.stopped_ms is None) == kind.startswith("speech")}
    if wrong:
        report.notes.append(f"{kind}: wrong with {', '.join(sorted(wrong))}")


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--delay-ms", type=int, default=150, help="until the recogniser has answered")
    chosen = parser.parse_args()
    if chosen.audio is None:
        parser.error("it needs recordings: --audio DIR")
    settings = config.load(overrides={"engines.reply": "template"})
    rules = TurnRules.semantic(settings.turns, settings.vad)
    report = Report("over_reply", {"delay_ms": chosen.delay_ms})
    noises = clips.sounds(chosen.audio, "non_speech")
    office = next((pcm for name, pcm in noises if "office" in name), None)
    size = round(PIECE_S * HEAR_HZ)
    pieces: dict[str, list[Piece]] = {"speech": [], "noise and music": [], "backchannels": []}
    for clip in clips.recorded(chosen.audio):
        if clip.ends_turn and not clip.pauses:
            short, start_ms = over(clip)
            pieces["speech"] += variations(clip.name, short.pcm, start_ms, office)
    for name, pcm in noises:
        for part in np.split(pcm, range(size, len(pcm), size)):
            pieces["noise and music"] += variations(name, part, 0.0, None)
    for name, pcm in clips.sounds(chosen.audio, "backchannels"):
        pieces["backchannels"] += variations(name, pcm, 0.0, office)
    async with talk.loaded(settings) as engines:
        for kind, each in pieces.items():
            some = each[:3] if chosen.quick else each
            found = [listen(piece, engines, rules, chosen.delay_ms) for piece in tqdm(some, desc=kind, unit="case")]
            tabulate(report, f"{kind} as recorded", [case for case in found if case.piece.as_recorded])
            tabulate(report, f"{kind} otherwise", [case for case in found if not case.piece.as_recorded])
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
