"""Where threads meet asyncio; the only such place.

A Worker is one thread that steps many blocking iterators in turn, so that engines need no locks, a cancelled reply
stops at its next step, and sessions that share a model advance evenly instead of waiting for each other's whole reply.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from voxtral_voice.types import Cancel

T = TypeVar("T")


class _End:
    pass


_END = _End()


@dataclass(eq=False)
class _Job(Generic[T]):
    make: Callable[[Cancel], Iterator[T]]
    priority: int
    ahead: int
    loop: asyncio.AbstractEventLoop
    cancel: Cancel = field(default_factory=Cancel)
    results: asyncio.Queue[T | BaseException | _End] = field(default_factory=asyncio.Queue)
    iterator: Iterator[T] | None = None
    produced: int = 0  # written by the thread
    consumed: int = 0  # written on the event loop

    @property
    def runnable(self) -> bool:
        return self.cancel.is_set() or self.produced - self.consumed < self.ahead


class Worker:
    """One thread with many iterators: the lowest `priority` first, equals in turn."""

    def __init__(self, name: str, *, nice: int = 0) -> None:
        """`nice`: how far this thread, and pools started from it, stand back behind the event loop (Linux)."""
        self.name = name
        self._nice = nice
        self._jobs: set[_Job[Any]] = set()  # handed over and not ended yet; the event loop's view
        self._inbox: queue.SimpleQueue[_Job[Any] | _End | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"voice-{name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Something is being worked on, as opposed to waiting for its consumer. Ask on the event loop."""
        return any(job.results.qsize() < job.ahead or job.cancel.is_set() for job in self._jobs)

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run one blocking call in the thread and return its result."""

        def once(_: Cancel) -> Iterator[T]:
            yield function(*arguments)

        async with aclosing(self.stream(once)) as results:
            return await anext(results)

    async def stream(
        self, make: Callable[[Cancel], Iterator[T]], *, priority: int = 0, ahead: int = 8
    ) -> AsyncGenerator[T, None]:
        """Iterate `make(cancel)` in the thread, at most `ahead` items before the consumer.

        Leaving the loop (use `aclosing`) sets the cancel flag at once.
        """
        job: _Job[T] = _Job(make, priority, ahead, asyncio.get_running_loop())
        self._jobs.add(job)
        self._inbox.put(job)
        try:
            while True:
                item = await job.results.get()
                if isinstance(item, _End):
                    return
                if isinstance(item, BaseException):
                    raise item
                job.consumed += 1
                self._inbox.put(_END)  # room again: the thread may be waiting for it
                yield item
        finally:
            job.cancel.set()
            self._inbox.put(_END)

    def close(self) -> None:
        """Stop the thread after its current step; streams still open end."""
        self._inbox.put(None)

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def _work(self) -> None:
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        active: list[_Job[Any]] = []
        while self._collect(active):
            job = min((job for job in active if job.runnable), key=lambda job: job.priority, default=None)
            if job is None:
                continue
            active.remove(job)
            if self._step(job):
                active.append(job)  # behind its equals
        for job in active:
            job.cancel.set()
            self._step(job)

    def _collect(self, active: list[_Job[Any]]) -> bool:
        """Take in what was handed over; wait only when there is nothing to step. False once closed."""
        while True:
            try:
                message = self._inbox.get(block=not any(job.runnable for job in active))
            except queue.Empty:
                return True
            if message is None:
                return False
            if isinstance(message, _Job):
                active.append(message)

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
        job.produced += 1
        return self._post(job, job.results.put_nowait, item)

    def _finish(self, job: _Job[Any], end: BaseException | _End) -> None:
        def deliver() -> None:
            self._jobs.discard(job)
            job.results.put_nowait(end)

        self._post(job, deliver)

    @staticmethod
    def _post(job: _Job[Any], function: Callable[..., object], *arguments: object) -> bool:
        try:
            job.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            return False
        return True
