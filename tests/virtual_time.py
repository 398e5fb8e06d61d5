"""An event loop on which seconds pass at once, as soon as nobody is at work.

Threads of Workers count as work; one of them that wants to take time calls `VirtualLoop.sleep`.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from voxtral_voice.engines.bridge import Worker

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self.loop.at_work():
            return super().select(1.0)
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and nobody is at work")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        self.workers: list[Worker] = []
        self._sleeping: set[str] = set()
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def at_work(self) -> bool:
        return any(worker.busy and f"voice-{worker.name}" not in self._sleeping for worker in self.workers)

    def sleep(self, seconds: float) -> None:
        """For engines: let `seconds` of virtual time pass in a worker's thread."""
        awake, thread = threading.Event(), threading.current_thread().name

        def wake() -> None:
            self._sleeping.discard(thread)
            awake.set()

        def lie_down() -> None:
            self._sleeping.add(thread)
            self.call_later(seconds, wake)

        self.call_soon_threadsafe(lie_down)
        awake.wait()


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop, workers: Iterable[Worker]) -> T:
    """Run `main` in virtual time; fails when it leaves a task behind."""
    loop.workers = list(workers)
    try:
        result = loop.run_until_complete(main)
        left = [task.get_name() for task in asyncio.all_tasks(loop)]
        assert not left, f"tasks left behind: {left}"
        loop.run_until_complete(loop.shutdown_asyncgens())
        while any(worker.busy for worker in loop.workers):  # threads end their step
            loop.run_until_complete(asyncio.sleep(0.1))
        return result
    finally:
        for worker in loop.workers:
            worker.close()
        for worker in loop.workers:
            worker.join(5)
        loop.close()
