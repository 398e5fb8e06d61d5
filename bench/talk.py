"""Every recording through the whole program: are the words right, is every one answered, is the answer intelligible?

    python -m bench.talk [--audio DIR] [--quick] [--json FILE]

Pooled word error rates after Whisper's English normaliser: of the transcripts against the recordings' texts, and of
what Whisper makes of the spoken answers against the answers' texts.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from dataclasses import replace

import jiwer
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from bench.clips import recorded, spoken
from bench.report import Report, arguments
from voxtral_voice import audio, config, talk
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm

_normalise = EnglishTextNormalizer({})


async def read_back(pcm: Pcm, engines: Engines) -> str:
    """What Whisper hears in a spoken answer (shape [samples], 24 kHz)."""
    heard = audio.resample(pcm, SPEAK_HZ, HEAR_HZ)
    stream = engines.understand_worker.stream(lambda cancel: engines.understander.transcribe(heard, "en", cancel))
    async with aclosing(stream) as stretches:
        return " ".join([each.text async for each in stretches])


def pooled_wer(pairs: list[tuple[str, str]]) -> float:
    """Errors over words of (truth, hypothesis) pairs."""
    truths, hypotheses = zip(*[(_normalise(a), _normalise(b)) for a, b in pairs], strict=True)
    return float(jiwer.wer(list(truths), list(hypotheses)))


async def main() -> int:
    parser = arguments(__doc__ or "")
    chosen = parser.parse_args()
    settings = config.load()
    session = replace(SessionSettings.of(settings), metrics=True)
    report = Report("talk", {"reply": settings.engines.reply, "audio": "recorded" if chosen.audio else "synthesised"})
    heard: list[tuple[str, str]] = []
    answered: list[tuple[str, str]] = []
    unanswered: list[str] = []
    async with talk.loaded(settings) as engines:
        clips = recorded(chosen.audio) if chosen.audio else await spoken(engines, settings)
        clips = [clip for clip in clips if clip.has_transcript]
        for clip in clips[:3] if chosen.quick else clips:
            result = await talk.talk(clip.pcm, engines, settings, session)
            heard.append((clip.text, " ".join(result.heard)))
            completed = [answer for answer in result.answers if answer.status == "completed" and answer.text.strip()]
            if not completed:
                unanswered.append(clip.name)
            for answer in completed:
                answered.append((answer.text, await read_back(answer.pcm, engines)))
            wer = pooled_wer(heard[-1:])
            print(f"{clip.name:14} {wer:5.0%}  {heard[-1][1]}  ->  {' | '.join(a.text.strip() for a in completed)}")
    report.figure("transcript word error rate, pooled", pooled_wer(heard), len(heard), "")
    report.figure("spoken answer word error rate, pooled", pooled_wer(answered), len(answered), "")
    report.figure("recordings answered", len(heard) - len(unanswered), len(heard), "recordings")
    if unanswered:
        report.notes.append(f"not answered: {', '.join(unanswered)}")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
