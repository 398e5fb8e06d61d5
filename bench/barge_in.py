"""Talking over a reply: how soon it is turned down and stopped, and what must not stop it.

    python -m bench.barge_in [--audio DIR] [--quick] [--json FILE]

Recorded speech over a long reply of the server with its models, from the labelled start of speech until the client was
told to turn the reply down, to stop, and until the reply's last byte came. Then noise, music and people's "mm" and
"yeah" (the manifest's; none without --audio) over a tone, with the real voice detector and recogniser: after a stop
the rest of that piece no longer counts, neither as stops nor as minutes. No echo of the reply is in what the microphone
hears.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench import clips
from bench.line import call
from bench.one_turn import talk_over
from bench.peer.measure import LONG_TEXT, TALK_OVER_S, over
from bench.report import Report, arguments
from bench.server_process import Running, ours, ours_zero_cost
from voxtral_voice.types import HEAR_HZ, Pcm

PIECE_S = 15.0
_TONE_S = 40.0
_LEAD_S = 0.5


@dataclass(frozen=True, slots=True)
class Disturbed:
    name: str
    ducks: int
    stopped: bool
    heard_s: float
    """How much of it played while the reply did."""


async def speech(server: Running, spoken: list[clips.Clip], report: Report) -> None:
    found = []
    for clip in tqdm(spoken, desc="speech", unit="clip"):
        async with call(server.url, server.wire, noise=clip.noise, ducks=True) as line:
            short, starts_ms = over(clip)
            found.append(await talk_over(line, short, starts_ms, LONG_TEXT))
        await asyncio.to_thread(server.settle)
    report.values("start of speech to ducked", [each.ducked_ms for each in found if each.ducked_ms is not None])
    report.values("start of speech to stopped", [each.stopped_ms for each in found if each.stopped_ms is not None])
    report.values("told to stop, to the last byte", [each.tail_ms for each in found])
    without = sum(each.stopped_ms is None for each in found)
    report.figure(f"speech of {TALK_OVER_S:g} s that did not stop the reply", without, len(found), "clips")


async def disturb(server: Running, name: str, pcm: Pcm) -> Disturbed:
    """`pcm` (shape [samples], 16 kHz) over a tone that the server plays."""
    async with call(server.url, server.wire, ducks=True) as line:
        await line.ask("Go on.")
        if await line.until(lambda note: note.audible, 30.0) is None:
            raise RuntimeError("no reply to disturb")
        await asyncio.sleep(_LEAD_S)
        since = len(line.noted)
        start, length_s = await line.play(pcm), len(pcm) / HEAR_HZ
        stop = await line.until(lambda note: note.kind == "interrupted", length_s + _LEAD_S, since)
        ducks = sum(note.kind == "ducked" for note in line.noted[since:])
        return Disturbed(name, ducks, stop is not None, length_s if stop is None else stop.at_s - start)


async def disturbances(server: Running, kind: str, sounds: list[tuple[str, Pcm]], report: Report) -> None:
    pieces = [
        (name, part)
        for name, pcm in sounds
        for part in np.split(pcm, range(round(PIECE_S * HEAR_HZ), len(pcm), round(PIECE_S * HEAR_HZ)))
    ]
    found = await asyncio.gather(*(disturb(server, name, part) for name, part in pieces))
    stops = [each for each in found if each.stopped]
    minutes = sum(each.heard_s for each in found) / 60
    report.figure(f"{kind}: replies stopped", len(stops), len(found), "pieces")
    if minutes:
        report.figure(f"{kind}: stops a minute, in {minutes:.1f} min", len(stops) / minutes, len(found), "/min")
        report.figure(f"{kind}: ducks a minute", sum(each.ducks for each in found) / minutes, len(found), "/min")
    if stops:
        report.notes.append(f"{kind} that stopped it: {', '.join(each.name for each in stops)}")


async def main() -> int:
    parser = arguments(__doc__ or "")
    chosen = parser.parse_args()
    report = Report("barge_in", {"audio": "recorded" if chosen.audio else "synthesised"})
    spoken = [clip for clip in await clips.of(chosen.audio) if clip.ends_turn and not clip.pauses]
    with ours(ENGINES__REPLY="template") as server:
        await speech(server, spoken[:2] if chosen.quick else spoken, report)
    if chosen.audio:
        options = ("--vad", "silero", "--recogniser", "whisper", "--reply-s", str(_TONE_S))
        with ours_zero_cost(*options, LOGGING__LEVEL="warning") as server:
            most = (2 if chosen.quick else 600) * HEAR_HZ
            noise = [(file, pcm[:most]) for file, pcm in clips.sounds(chosen.audio, "non_speech")]
            await disturbances(server, "noise and music", noise, report)
            await disturbances(server, "backchannels", clips.sounds(chosen.audio, "backchannels"), report)
    else:
        report.notes.append("noise, music and backchannels: not measured (they are in the folder of --audio)")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
