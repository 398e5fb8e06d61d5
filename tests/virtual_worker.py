"""Workers without threads: their steps happen on a virtual loop, and what a step takes passes there.

The same seed is then the same story to the last event, and a conversation takes a tenth of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from scripted import Script, ScriptedDetector, ScriptedEndpoint, ScriptedSynthesizer, ScriptedUnderstander
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.types import Cancel, Step

T = TypeVar("T")

_PATIENCE_S = 2.0


class Took:
    """How long the engine's step under way takes; `sleep` is what the engines are given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class _Over:
    pass


class _Job:
    def __init__(self, make: Callable[[Cancel], Iterator[Any]], priority: int, ahead: int) -> None:
        self.cancel, self.priority, self.ahead = Cancel(), priority, ahead
        self.results: asyncio.Queue[Any] = asyncio.Queue()
        self.iterator = make(self.cancel)
        self.stepped_at = asyncio.get_running_loop().time()  # or handed over

    def rank(self, now: float) -> int:
        """Lower goes first, as in the Worker with threads."""
        if self.cancel.is_set():
            return -1
        return 0 if now - self.stepped_at >= _PATIENCE_S * self.priority else self.priority

    @property
    def runnable(self) -> bool:
        return self.cancel.is_set() or self.results.qsize() < self.ahead


class VirtualWorker(Worker):
    """One step at a time, the lowest rank first, equals in turn."""

    def __init__(self, name: str, took: Took) -> None:  # not the parent's: it would start a thread
        self.name = name
        self._took = took
        self._waiting: list[_Job] = []
        self._at_work = False

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        def once(_: Cancel) -> Iterator[T]:
            yield function(*arguments)

        async with aclosing(self.stream(once)) as results:
            return await anext(results)

    async def stream(
        self, make: Callable[[Cancel], Iterator[T | Step]], *, priority: int = 0, ahead: int = 8
    ) -> AsyncGenerator[T, None]:
        job = _Job(make, priority, ahead)
        self._waiting.append(job)
        self._go_on()
        try:
            while not isinstance(item := await job.results.get(), _Over):
                if isinstance(item, BaseException):
                    raise item
                self._go_on()
                yield item
        finally:
            job.cancel.set()
            self._go_on()

    def close(self) -> None:
        pass

    def join(self, timeout_s: float | None = None) -> None:
        pass

    def _go_on(self) -> None:
        if not self._at_work:
            self._at_work = True
            asyncio.get_running_loop().call_soon(self._let_pass)

    def _let_pass(self) -> None:
        runnable = (job for job in self._waiting if job.runnable)
        now = asyncio.get_running_loop().time()
        job = min(runnable, key=lambda job: job.rank(now), default=None)
        if job is None:
            self._at_work = False
            return
        self._waiting.remove(job)
        self._took.seconds = 0.0
        item: Any = _Over()
        try:
            item = next(job.iterator, item)
        except Exception as error:  # goes to whoever waits for it
            item = error
        asyncio.get_running_loop().call_later(self._took.seconds, self._advanced, job, item)

    def _advanced(self, job: _Job, item: Any) -> None:
        if not isinstance(item, Step):
            job.results.put_nowait(item)
        if not isinstance(item, (_Over, BaseException)):
            job.stepped_at = asyncio.get_running_loop().time()
            self._waiting.append(job)
        self._let_pass()


def script(took: Took) -> Script:
    """Scripted engines on workers without threads."""
    detector, endpoint = ScriptedDetector(), ScriptedEndpoint()
    understander, synthesizer = ScriptedUnderstander(took.sleep), ScriptedSynthesizer(took.sleep)
    detect, ask, understand, speak = (VirtualWorker(name, took) for name in ("detect", "endpoint", "reply", "speak"))
    engines = Engines(detector, endpoint, understander, synthesizer, detect, ask, understand, speak)
    return Script(detector, endpoint, understander, synthesizer, engines)
