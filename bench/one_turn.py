"""Something is said on a line, and what the server made of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bench.clips import Clip
from bench.line import Line, Noted
from voxtral_voice.types import HEAR_HZ

SHORT_MS = 900
"""A pause shorter than this in mid-thought should not end a turn."""
_LATE_MS = 250  # a turn's end said this soon after a pause was decided in it
MISSED_MS = 1500
_PATIENCE_S = 8.0
_ANSWER_S = 16.0  # after the end of speech, however late the turn's end was known
_PLAYED_S = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    clip: Clip
    ended_ms: float | None
    """From the labelled end of speech until the client knew that the turn was over; None: never."""
    sent_ms: float | None
    """Until the first audible packet of the answer had come; None: no answer."""
    cut_mid: int = 0
    """Pauses in mid-thought, shorter than 0.9 s, in which a turn ended."""
    cut_complete: int = 0
    """Pauses after a finished clause, likewise."""
    marks_ms: dict[str, float] = field(default_factory=dict)
    """Our server's own account of it, where the line asked for it."""

    @property
    def missed(self) -> bool:
        """The end was not noticed within 1.5 s."""
        return self.ended_ms is None or self.ended_ms > MISSED_MS


async def say(line: Line, clip: Clip, *, wants_marks: bool = False) -> Outcome:
    """Say `clip` and wait until its answer can be heard."""
    since = len(line.noted)
    start = await line.play(clip.pcm)
    end = start + clip.speech_end_ms / 1000
    within = end - start + _PATIENCE_S
    ended = await line.until(lambda note: note.kind == "turn_ended" and note.at_s >= end, within, since)
    answer = None
    if ended is not None:
        at = line.noted.index(ended)
        answer = await line.until(lambda note: note.audible, _ANSWER_S - (ended.at_s - end), at)
        if answer is None:  # the packet that can be heard may have been the very first, before the turn's end was told
            answer = next((note for note in line.noted if note.audible and note.at_s >= end), None)
    marks = None
    if wants_marks and answer is not None:
        marks = await line.until(lambda note: note.kind == "marks" and note.at_s >= end, _PATIENCE_S, since)
    ends = [(note.at_s - start) * 1000 for note in line.noted[since:] if note.kind == "turn_ended"]
    return Outcome(
        clip,
        None if ended is None else (ended.at_s - end) * 1000,
        None if answer is None else (answer.at_s - end) * 1000,
        cut(clip, ends, "mid"),
        cut(clip, ends, "complete"),
        {} if marks is None else marks.marks_ms,
    )


def cut(clip: Clip, ends_ms: list[float], kind: str) -> int:
    """How many pauses of `kind` shorter than 0.9 s ended a turn; `ends_ms`: when that was told, on the clip's clock."""
    return sum(
        any(pause.start_ms <= end < pause.end_ms + _LATE_MS for end in ends_ms)
        for pause in clip.pauses
        if pause.kind == kind and pause.length_ms < SHORT_MS
    )


@dataclass(frozen=True, slots=True)
class Interruption:
    """Of a reply; all in ms."""

    ducked_ms: float | None
    """From the labelled start of speech until the client was told to turn the reply down."""
    stopped_ms: float | None
    """Until it was told to stop."""
    tail_ms: float
    """From then to the reply's last byte; 0 where none came any more."""


async def talk_over(line: Line, clip: Clip, speech_start_ms: float, text: str) -> Interruption:
    """Have `text` spoken and say `clip` over it, once two seconds of it have come and more is coming."""
    since = len(line.noted)
    await line.ask(text)

    def under_way(note: Noted) -> bool:
        return note.audible and sum(each.sound_s for each in line.noted[since:]) >= _PLAYED_S

    if await line.until(under_way, 60.0, since) is None:
        raise RuntimeError("no reply to talk over")
    since = len(line.noted)
    start = await line.play(clip.pcm) + speech_start_ms / 1000
    within = len(clip.pcm) / HEAR_HZ
    stop = await line.until(lambda note: note.kind == "interrupted" and note.at_s >= start, within, since)
    await asyncio.sleep(0.3)
    duck = next((note for note in line.noted[since:] if note.kind == "ducked"), None)
    return Interruption(
        None if duck is None else (duck.at_s - start) * 1000,
        None if stop is None else (stop.at_s - start) * 1000,
        0.0 if stop is None else _tail_ms(line.noted, stop),
    )


def _tail_ms(noted: list[Noted], stop: Noted) -> float:
    after = [note.at_s for note in noted if note.kind == "sound" and stop.at_s < note.at_s < stop.at_s + 0.25]
    return (max(after) - stop.at_s) * 1000 if after else 0.0
