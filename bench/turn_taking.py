"""When turns end: how soon after the last word, and how many people are cut off.

    python -m bench.turn_taking --audio DIR [--quick] [--json FILE]

Recordings run through the voice detector, the end-of-turn model and the TurnTaker on the sample clock, without waiting
for real time; each answer of the end-of-turn model is charged with the delay it has beside a busy engine.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

from bench.clips import Clip, recorded, spoken
from bench.report import Report, arguments
from bench.voice_to_voice import cut_pauses
from voxtral_voice import config, talk
from voxtral_voice.audio import Framer
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.recording import Recording
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import AskEndpoint, Ended, Signal, Started, TurnTaker
from voxtral_voice.types import HEAR_HZ

_SHORT_MS = 900


def run(clip: Clip, engines: Engines, rules: TurnRules, delay_ms: int) -> tuple[list[int], list[int]]:
    """(ends of speech, moments at which the turn was known to be over), both in ms of the recording."""
    taker, recording = TurnTaker(rules), Recording(len(clip.pcm))
    state, start = engines.detector.start(), 0
    waiting: deque[tuple[int, float, int]] = deque()  # (due, probability, asked at)
    ends, known = [], []
    for window in Framer(engines.detector.window_samples).push(clip.pcm):
        recording.add(window)
        probability, state = engines.detector.probability(window, state)
        signals: list[Signal] = taker.window(probability, len(window), reply_heard=False)
        while waiting and waiting[0][0] <= taker.position:
            _, finished, asked_at = waiting.popleft()
            signals += taker.verdict(finished, asked_at)
        for signal in signals:
            if isinstance(signal, Started):
                start = max(0, signal.onset - rules.prefix)
            elif isinstance(signal, AskEndpoint):
                finished = engines.endpoint.probability(recording.slice(start, signal.at))
                waiting.append((signal.at + delay_ms * HEAR_HZ // 1000, finished, signal.at))
            elif isinstance(signal, Ended):
                ends.append(signal.speech_end * 1000 // HEAR_HZ)
                known.append(signal.at * 1000 // HEAR_HZ)
    return ends, known


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--delay-ms", type=int, default=50, help="until the end-of-turn model has answered")
    chosen = parser.parse_args()
    settings = config.load(overrides={"engines.reply": "template"})
    report = Report("turn_taking", {"delay_ms": chosen.delay_ms})
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else await spoken(engines, settings)
        clips = clips[:3] if chosen.quick else clips
        for eagerness in ("low", "medium", "high"):
            rules = TurnRules.semantic(settings.turns, settings.vad, eagerness)
            short = {"mid": 0, "complete": 0}
            waits: list[float] = []
            for clip in clips:
                ends, known = run(clip, engines, rules, chosen.delay_ms)
                for kind in short:
                    short[kind] += sum(length < _SHORT_MS for length in cut_pauses(clip, ends, kind))
                if clip.ends_turn and known:
                    waits.append(known[-1] - clip.speech_end_ms)
                if eagerness == "medium" and cut_pauses(clip, ends, "mid"):
                    print(clip.name, "mid-thought pauses cut:", [round(ms) for ms in cut_pauses(clip, ends, "mid")])
            for kind in short:
                n = sum(pause.kind == kind and pause.length_ms < _SHORT_MS for clip in clips for pause in clip.pauses)
                report.figure(f"{eagerness}: {kind} pauses < 0.9 s that ended the turn", short[kind], n, "pauses")
            report.values(f"{eagerness}: end of turn known", waits)
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
