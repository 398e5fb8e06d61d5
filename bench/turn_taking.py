"""When turns end: how soon after the last word, and how many people are cut off.

    python -m bench.turn_taking --audio DIR [--plot FILE.svg] [--quick] [--json FILE]

Recordings run through the voice detector, the end-of-turn model and the TurnTaker on the sample clock, without waiting
for real time; each answer of the end-of-turn model is charged with the delay it has beside a busy engine. The curve:
all silences of the normal rule multiplied by a factor.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from bench import plot
from bench.clips import Clip, recorded, spoken
from bench.report import Report, arguments
from bench.voice_to_voice import cut_pauses
from voxtral_voice import config, talk
from voxtral_voice.audio import Framer
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.recording import Recording
from voxtral_voice.signals import AskEndpoint, Ended, Paused, Signal, Started
from voxtral_voice.turn_rules import TurnRules
from voxtral_voice.turns import TurnTaker
from voxtral_voice.types import HEAR_HZ, Pcm

_SHORT_MS = 900
_FACTORS = (0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)


class Listened:
    """A clip as the models hear it, asked once: the rules alone differ between runs."""

    def __init__(self, clip: Clip, engines: Engines) -> None:
        self.clip = clip
        self._engines = engines
        self._finished: dict[tuple[int, int], float] = {}
        state = engines.detector.start()
        self.windows: list[tuple[Pcm, float]] = []
        for window in Framer(engines.detector.window_samples).push(clip.pcm):
            probability, state = engines.detector.probability(window, state)
            self.windows.append((window, probability))

    def finished(self, recording: Recording, start: int, at: int) -> float:
        if (start, at) not in self._finished:
            self._finished[start, at] = self._engines.endpoint.probability(recording.slice(start, at))
        return self._finished[start, at]

    def run(self, rules: TurnRules, delay_ms: int) -> tuple[list[int], list[int], int]:
        """(ends of speech, moments at which the turn was known to be over), both in ms of the recording, and how often
        a draft was begun."""
        taker, recording, start = TurnTaker(rules), Recording(len(self.clip.pcm)), 0
        waiting: deque[tuple[int, float, int]] = deque()  # (due, probability, asked at)
        ends, known, drafts = [], [], 0
        for window, probability in self.windows:
            recording.add(window)
            signals: list[Signal] = taker.window(probability, len(window), reply_heard=False)
            while waiting and waiting[0][0] <= taker.position:
                _, finished, asked_at = waiting.popleft()
                signals += taker.verdict(finished, asked_at)
            for signal in signals:
                if isinstance(signal, Started):
                    start = max(0, signal.onset - rules.prefix)
                elif isinstance(signal, AskEndpoint):
                    finished = self.finished(recording, start, signal.at)
                    waiting.append((signal.at + delay_ms * HEAR_HZ // 1000, finished, signal.at))
                elif isinstance(signal, Paused):
                    drafts += 1
                elif isinstance(signal, Ended):
                    ends.append(signal.speech_end * 1000 // HEAR_HZ)
                    known.append(signal.at * 1000 // HEAR_HZ)
        return ends, known, drafts


@dataclass(slots=True)
class Result:
    """Of one rule over all clips."""

    waits_ms: list[float]
    cut: dict[str, int]
    """Pauses shorter than 0.9 s that ended the turn, by kind."""
    names: list[str]
    """Clips cut in mid-thought."""
    drafts: int = 0


def judge(heard: list[Listened], rules: TurnRules, delay_ms: int) -> Result:
    result = Result([], {"mid": 0, "complete": 0}, [])
    for each in heard:
        ends, known, drafts = each.run(rules, delay_ms)
        result.drafts += drafts
        for kind in result.cut:
            result.cut[kind] += sum(length < _SHORT_MS for length in cut_pauses(each.clip, ends, kind))
        if cut_pauses(each.clip, ends, "mid"):
            result.names.append(each.clip.name)
        if each.clip.ends_turn and known:
            result.waits_ms.append(known[-1] - each.clip.speech_end_ms)
    return result


def _short(heard: list[Listened], kind: str) -> int:
    """Pauses of `kind` that should not end a turn."""
    return sum(pause.kind == kind and pause.length_ms < _SHORT_MS for each in heard for pause in each.clip.pauses)


def _tabulate(report: Report, heard: list[Listened], rules: Callable[[str], TurnRules], delay_ms: int) -> None:
    for eagerness in ("low", "medium", "high"):
        result = judge(heard, rules(eagerness), delay_ms)
        for kind, cut in result.cut.items():
            n = _short(heard, kind)
            report.figure(f"{eagerness}: {kind} pauses < 0.9 s that ended the turn", cut, n, "pauses")
        report.values(f"{eagerness}: end of turn known", result.waits_ms)
        if eagerness == "medium":
            length_s = sum(len(each.clip.pcm) for each in heard) / HEAR_HZ
            report.figure("drafts begun in a second of recording", result.drafts / length_s, len(heard), "/s")
        if eagerness == "medium" and result.names:
            report.notes.append(f"cut in mid-thought, longer pauses included: {', '.join(result.names)}")


def _curve(
    report: Report, heard: list[Listened], medium: TurnRules, delay_ms: int, factors: tuple[float, ...]
) -> list[plot.Point]:
    points = []
    for factor in factors:
        grades = tuple((probability, round(silence * factor)) for probability, silence in medium.grades)
        result = judge(heard, replace(medium, grades=grades), delay_ms)
        points.append(plot.Point(statistics.median(result.waits_ms), result.cut["mid"], f"x {factor:g}"))
        report.values(f"silences x {factor:g}: end of turn known", result.waits_ms)
        report.figure(
            f"silences x {factor:g}: mid-thought pauses cut", result.cut["mid"], _short(heard, "mid"), "pauses"
        )
    return points


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--delay-ms", type=int, default=50, help="until the end-of-turn model has answered")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curve there, as SVG")
    chosen = parser.parse_args()
    settings = config.load(overrides={"engines.reply": "template"})
    report = Report("turn_taking", {"delay_ms": chosen.delay_ms})
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else await spoken(engines, settings)
        clips = clips[:3] if chosen.quick else clips
        heard = [Listened(clip, engines) for clip in tqdm(clips, desc="listening", unit="clip")]
        _tabulate(report, heard, lambda name: TurnRules.semantic(settings.turns, settings.vad, name), chosen.delay_ms)
        medium = TurnRules.semantic(settings.turns, settings.vad)
        points = _curve(report, heard, medium, chosen.delay_ms, (0.7, 1.0) if chosen.quick else _FACTORS)
    if chosen.plot:
        svg = plot.curve(
            points, "end of turn known after the labelled end, median, ms", "mid-thought pauses < 0.9 s cut"
        )
        chosen.plot.write_text(svg, encoding="utf-8")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
