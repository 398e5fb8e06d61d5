"""Where threads meet asyncio; the only such place.

A Worker is one thread that steps many blocking iterators in turn, so that engines need no locks, a cancelled reply
stops at its next step, and sessions that share a model advance evenly instead of waiting for each other's whole reply.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from voxtral_voice.types import Cancel

T = TypeVar("T")


class _End:
    pass


_END = _End()


@dataclass
class _Job(Generic[T]):
    make: Callable[[Cancel], Iterator[T]]
    priority: int
    loop: asyncio.AbstractEventLoop
    cancel: Cancel = field(default_factory=Cancel)
    results: asyncio.Queue[T | BaseException | _End] = field(default_factory=asyncio.Queue)
    iterator: Iterator[T] | None = None


class Worker:
    """One thread with a queue of iterators; the lowest `priority` first, equals in turn."""

    def __init__(self, name: str, *, nice: int = 0) -> None:
        """`nice`: how far this thread, and pools started from it, stand back behind the event loop (Linux)."""
        self.name = name
        self.outstanding = 0
        """Jobs handed over whose end has not come back yet. Read and written on the event loop only."""
        self._nice = nice
        self._inbox: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"voice-{name}", daemon=True)
        self._thread.start()

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run one blocking call in the thread and return its result."""

        def once(_: Cancel) -> Iterator[T]:
            yield function(*arguments)

        async with aclosing(self.stream(once)) as results:
            return await anext(results)

    async def stream(self, make: Callable[[Cancel], Iterator[T]], priority: int = 0) -> AsyncGenerator[T, None]:
        """Iterate `make(cancel)` in the thread. Leaving the loop (use `aclosing`) sets the cancel flag at once."""
        job: _Job[T] = _Job(make, priority, asyncio.get_running_loop())
        self.outstanding += 1
        self._inbox.put(job)
        try:
            while True:
                item = await job.results.get()
                if isinstance(item, _End):
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            job.cancel.set()

    def close(self) -> None:
        """Stop the thread after its current step; jobs still queued end as cancelled."""
        self._inbox.put(None)

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def _work(self) -> None:
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        active: deque[_Job[Any]] = deque()
        while self._collect(active):
            best = min(job.priority for job in active)
            job = next(job for job in active if job.priority == best)
            active.remove(job)
            if self._step(job):
                active.append(job)
        for job in active:
            self._finish(job, _END)

    def _collect(self, active: deque[_Job[Any]]) -> bool:
        """Take in what was handed over; wait only when there is nothing to step. False once closed."""
        while True:
            try:
                job = self._inbox.get(block=not active)
            except queue.Empty:
                return True
            if job is None:
                return False
            active.append(job)

    def _step(self, job: _Job[Any]) -> bool:
        """One step of one iterator; False when it is over."""
        try:
            if job.cancel.is_set():
                if job.iterator is not None and hasattr(job.iterator, "close"):
                    job.iterator.close()
                self._finish(job, _END)
                return False
            if job.iterator is None:
                job.iterator = job.make(job.cancel)
            item = next(job.iterator)
        except StopIteration:
            self._finish(job, _END)
            return False
        except BaseException as error:  # handed to the consumer, which raises it in its own task
            self._finish(job, error)
            return False
        return self._post(job, job.results.put_nowait, item)

    def _finish(self, job: _Job[Any], end: BaseException | _End) -> None:
        def deliver() -> None:
            self.outstanding -= 1
            job.results.put_nowait(end)

        self._post(job, deliver)

    @staticmethod
    def _post(job: _Job[Any], function: Callable[..., object], *arguments: object) -> bool:
        try:
            job.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            return False
        return True
