"""Several people at once with the real models: does the event loop keep up, and how long does each wait?

python -m bench.simultaneous [--people 5] [--audio DIR] [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace

from bench.clips import recorded, spoken
from bench.report import Report, arguments
from voxtral_voice import config, talk
from voxtral_voice.settings import SessionSettings

_TICK_S = 0.005


async def sample_lag(lags_ms: list[float]) -> None:
    """How much later than asked the event loop wakes somebody, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _TICK_S
        await asyncio.sleep(_TICK_S)
        lags_ms.append(max(0.0, loop.time() - due) * 1000)


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--people", type=int, default=5)
    chosen = parser.parse_args()
    settings = config.load(overrides={"engines.reply": "template"})
    session = replace(SessionSettings.of(settings), metrics=True)
    report = Report("simultaneous", {"people": chosen.people, "audio": "recorded" if chosen.audio else "synthesised"})
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else await spoken(engines, settings)
        clips = [clip for clip in clips if clip.ends_turn and not clip.pauses]
        for people in (1, chosen.people):
            lags: list[float] = []
            waits: list[float] = []
            sampler = asyncio.create_task(sample_lag(lags))
            for _ in range(1 if chosen.quick else 3):
                chosen_clips = list(itertools.islice(itertools.cycle(clips), people))
                talks = [talk.talk(clip.pcm, engines, settings, session) for clip in chosen_clips]
                for clip, result in zip(chosen_clips, await asyncio.gather(*talks), strict=True):
                    answer = result.answers[-1] if result.answers else None
                    if answer is not None and answer.first_audible_s is not None:
                        waits.append(answer.first_audible_s * 1000 - clip.speech_end_ms)
            sampler.cancel()
            lags.sort()
            report.values(f"{people} at once: voice_to_voice_sent_ms", waits)
            report.figure(
                f"{people} at once: event loop lag, 99th percentile", lags[int(0.99 * len(lags))], len(lags), "ms"
            )
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
