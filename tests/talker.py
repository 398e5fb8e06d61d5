"""A program whose microphone is standard input and whose loudspeaker is standard output, and somebody who talks to it.

async with talking("python", "examples/openai_talk.py", URL=url) as talker:
    await talker.say(pcm)
    ...

Sound is 24 kHz, 16 bit, mono; words come on standard error, a line each: `you: …`, `it: …`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from voxtral_voice import audio
from voxtral_voice.types import SPEAK_HZ, Pcm

FRAME_S = 0.02
AUDIBLE = 10 ** (-45 / 20)
_WINDOW = SPEAK_HZ // 100
_SILENCE = bytes(2 * round(FRAME_S * SPEAK_HZ))


def audible_s(pcm: Pcm) -> float:
    """Seconds of it in windows of 10 ms that are louder than -45 dBFS."""
    windows = pcm[: len(pcm) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    return float(np.sum(np.max(np.abs(windows), axis=1, initial=0.0) > AUDIBLE)) * 0.01


@dataclass
class Talker:
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    """All that came on standard error."""
    sound: list[tuple[float, Pcm]] = field(default_factory=list)
    """When it came out of the loudspeaker, on the clock of the event loop."""
    _unsaid: asyncio.Queue[bytes | asyncio.Event] = field(default_factory=asyncio.Queue)

    def said(self, who: str) -> list[str]:
        """What `you` or `it` said."""
        return [line.removeprefix(f"{who}: ") for line in self.lines if line.startswith(f"{who}: ")]

    def heard(self, since: float = 0.0, until: float = float("inf")) -> Pcm:
        """What came out of the loudspeaker between two moments."""
        parts = [pcm for at, pcm in self.sound if since <= at < until]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def last_heard(self, seconds: float) -> Pcm:
        """The end of all that came out of the loudspeaker, without the silence behind it."""
        pcm = self.heard()
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
        end = int(loud[-1]) + 1 if len(loud) else 0
        return pcm[max(0, end - round(seconds * SPEAK_HZ)) : end]

    def first_audible_at(self, since: float) -> float:
        return next(at for at, pcm in self.sound if at >= since and audible_s(pcm))

    def last_audible_at(self, until: float = float("inf")) -> float:
        """0.0 where nothing was heard at all."""
        return max((at for at, pcm in self.sound if at < until and audible_s(pcm)), default=0.0)

    async def until(self, true: Callable[[], object], what: str, within_s: float = 60) -> None:
        """Wait for it; fails with all lines of the program where it does not come, or the program ends before."""
        end = asyncio.get_running_loop().time() + within_s
        while not true():
            said = "\n".join(self.lines)
            assert self.process.returncode is None, f"it ended before {what}\n{said}"
            assert asyncio.get_running_loop().time() < end, f"{within_s} s without {what}\n{said}"
            await asyncio.sleep(0.02)

    async def quiet(self, for_s: float = 1.0) -> None:
        """Until nothing has been audible for so long."""
        loop = asyncio.get_running_loop()
        await self.until(lambda: loop.time() - self.last_audible_at() > for_s, f"{for_s} s of silence")

    async def say(self, pcm: Pcm) -> tuple[float, float]:
        """In real time, 24 kHz. Returns when its first and its last audible sample went into the microphone."""
        frame, loop = round(FRAME_S * SPEAK_HZ), asyncio.get_running_loop()
        loud = np.flatnonzero(np.abs(pcm) > AUDIBLE)
        moments = []
        for part in (pcm[: loud[0]], pcm[loud[0] : loud[-1] + 1]):
            for start in range(0, len(part), frame):
                self._unsaid.put_nowait(audio.to_pcm16(part[start : start + frame]))
            reached = asyncio.Event()
            self._unsaid.put_nowait(reached)
            await reached.wait()
            moments.append(loop.time())
        return moments[0], moments[1]

    async def hang_up(self, within_s: float = 30) -> int:
        """Close the microphone. Returns the program's exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def _talk(self) -> None:
        """Silence where nothing is said: the microphone stays open."""
        loop, wire = asyncio.get_running_loop(), self.process.stdin
        assert wire is not None
        due = loop.time()
        while not wire.is_closing():
            part: bytes | asyncio.Event = _SILENCE if self._unsaid.empty() else self._unsaid.get_nowait()
            if isinstance(part, asyncio.Event):
                part.set()
                continue
            wire.write(part)
            due += len(part) / 2 / SPEAK_HZ
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _hear(self) -> None:
        loop, wire, rest = asyncio.get_running_loop(), self.process.stdout, b""
        assert wire is not None
        while data := await wire.read(1 << 16):
            whole = len(rest + data) // 2 * 2
            self.sound.append((loop.time(), audio.from_pcm16((rest + data)[:whole])))
            rest = (rest + data)[whole:]

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())


@asynccontextmanager
async def talking(*command: str | os.PathLike[str], **environment: str) -> AsyncIterator[Talker]:
    """Start the program; killed where it does not end by itself."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("VOXTRAL_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**inherited, **environment},
    )
    talker = Talker(process)
    reading = [asyncio.create_task(talker._hear()), asyncio.create_task(talker._read())]
    try:
        await talker.until(lambda: "listening" in talker.lines, "listening", 120)
        microphone = asyncio.create_task(talker._talk())
        yield talker
        await asyncio.wait(reading, timeout=10)
        microphone.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        for task in reading:
            task.cancel()
