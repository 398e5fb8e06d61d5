"""A recording written down, stretch by stretch: `voxtral-voice transcribe`, /v1/audio/transcriptions and jobs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate

from voxtral_voice.engines.protocols import Engines
from voxtral_voice.engines.stretches import stretches
from voxtral_voice.types import HEAR_HZ, Heard, Pcm, VoiceError

_PRIORITY = 1  # behind a conversation's turn


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was said between two pauses, within at most 28 s."""

    text: str
    language: str
    """ISO 639-1 code as recognised, empty when unknown."""
    start_s: float
    end_s: float


async def write_down(pcm: Pcm, language: str, engines: Engines) -> AsyncGenerator[Stretch, None]:
    """`pcm`: shape [samples], 16 kHz, any length; `language`: ISO 639-1, or "auto". Stretches without words are left
    out."""
    ends = list(accumulate((len(piece) for piece in stretches(pcm)), initial=0))
    stream: AsyncGenerator[Heard, None] = engines.understand_worker.stream(
        lambda cancel: engines.understander.transcribe(pcm, language, cancel), priority=_PRIORITY
    )
    async with aclosing(stream) as heard:
        async for each in heard:
            start, end = ends[each.part], ends[each.part + 1]
            yield Stretch(each.text, each.language, start / HEAR_HZ, end / HEAR_HZ)


def language_of(asked: str, languages: frozenset[str]) -> str:
    """The code of a language that is heard, its region left away: "en-US" -> "en"; "auto" stays.

    Raises VoiceError("invalid_event").
    """
    code = re.split("[-_]", asked.strip().lower())[0]
    if code != "auto" and code not in languages:
        heard = ", ".join(sorted(languages))
        raise VoiceError("invalid_event", f"{code[:20]!r} is not heard; auto and these are: {heard}", param="language")
    return code
