"""A scripted conversation: say something for so long, be silent for so long, and look at what happened when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from scripted import Script, script
from virtual_time import VirtualLoop, run
from voxtral_voice import config
from voxtral_voice.config import Config
from voxtral_voice.events import Event, ReplyAudio, ReplyDone
from voxtral_voice.metrics import Metrics
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ

E = TypeVar("E", bound=Event)
FRAME_S = 0.02


class Conversation:
    """One session with its listener; times are seconds since the first frame."""

    def __init__(self, parts: Script, settings: SessionSettings, configuration: Config) -> None:
        self.script = parts
        self.metrics = Metrics()
        self.session = Session(parts.engines, configuration, self.metrics, settings)
        self.log: list[tuple[float, Event]] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def __aenter__(self) -> Conversation:
        self._tasks = [
            asyncio.create_task(self.session.run(), name="session"),
            asyncio.create_task(self._listen(), name="listener"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.session.close()
        await asyncio.gather(*self._tasks)

    @property
    def now(self) -> float:
        return self._loop.time() - self._began

    async def say(self, seconds: float, level: int = 42) -> None:
        await self.send(np.full(round(seconds * HEAR_HZ), level / 100, np.float32))

    async def hush(self, seconds: float) -> None:
        """Silent frames."""
        await self.send(np.zeros(round(seconds * HEAR_HZ), np.float32))

    async def wait(self, seconds: float) -> None:
        """No frames at all."""
        await asyncio.sleep(seconds)

    async def send(self, pcm: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        size = round(FRAME_S * HEAR_HZ)
        for start in range(0, len(pcm), size):
            self.session.hear(pcm[start : start + size])
            await asyncio.sleep(FRAME_S)

    def all(self, kind: type[E]) -> list[E]:
        return [event for _, event in self.log if isinstance(event, kind)]

    def times(self, kind: type[Event]) -> list[float]:
        return [round(at, 3) for at, event in self.log if isinstance(event, kind)]

    def kinds(self, *without: type[Event]) -> list[str]:
        """The names of what happened, repeats of one kind in a row once."""
        names = [type(event).__name__ for _, event in self.log if not isinstance(event, without)]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]

    def audio_s(self, response_id: str) -> float:
        """Seconds of sound sent for a response."""
        return sum(len(e.pcm) for e in self.all(ReplyAudio) if e.response_id == response_id) / SPEAK_HZ

    def most_ahead_s(self) -> float:
        """By how much the sound sent was ahead of real time at most, all replies on one loudspeaker."""
        start, sent, most = self.times(ReplyAudio)[0], 0.0, 0.0
        for at, event in self.log:
            if isinstance(event, ReplyAudio):
                sent += len(event.pcm) / SPEAK_HZ
                most = max(most, sent - (at - start))
        return most

    async def _listen(self) -> None:
        async for event in self.session.events():
            self.log.append((self.now, event))


def converse(
    story: Callable[[Conversation], Awaitable[None]],
    *,
    prepare: Callable[[Script], None] = lambda _: None,
    overrides: dict[str, object] | None = None,
    **settings: object,
) -> Conversation:
    """Let `story` happen in virtual time and return what came of it."""
    loop = VirtualLoop()
    parts = script(loop.sleep)
    prepare(parts)
    configuration = config.load(overrides=overrides, environ={})
    chosen = replace(SessionSettings.of(configuration), **settings)  # type: ignore[arg-type]

    async def main() -> Conversation:
        async with Conversation(parts, chosen, configuration) as conversation:
            await story(conversation)
        return conversation

    return run(main(), loop, parts.workers)


def statuses(conversation: Conversation) -> list[tuple[str, str]]:
    return [(done.status, done.reason) for done in conversation.all(ReplyDone)]


def texts(conversation: Conversation) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in conversation.session.items()]


async def one_turn(c: Conversation) -> None:
    await c.hush(0.5)
    await c.say(1.0)
    await c.hush(5.0)
