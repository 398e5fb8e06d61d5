"""Where threads meet asyncio; the only such place.

A Worker is one thread that steps many blocking iterators in turn, so that engines need no locks, a cancelled reply
stops at its next step, and sessions that share a model advance evenly instead of waiting for each other's whole reply.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from voxtral_voice.types import Cancel, Step, VoiceError

T = TypeVar("T")

# A model asks for the interpreter between any two of its thousands of steps; by default it may wait 5 ms each time.
_SWITCH_S = 0.0002
_PATIENCE_S = 2.0  # half an answer's time: what waits longer for its step takes its turn among what matters more


class _End:
    pass


_END = _End()


@dataclass(eq=False)
class _Job(Generic[T]):
    make: Callable[[Cancel], Iterator[T | Step]]
    priority: int
    ahead: int
    loop: asyncio.AbstractEventLoop
    cancel: Cancel = field(default_factory=Cancel)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)  # the log says whose work it is
    results: asyncio.Queue[T | BaseException | _End] = field(default_factory=asyncio.Queue)
    iterator: Iterator[T | Step] | None = None
    stepped_at: float = field(default_factory=time.monotonic)  # or handed over
    produced: int = 0  # written by the thread
    consumed: int = 0  # written on the event loop

    @property
    def runnable(self) -> bool:
        return self.cancel.is_set() or self.produced - self.consumed < self.ahead

    def rank(self, now: float, patience_s: float) -> int:
        """Lower goes first. What is cancelled only has to let go, at once."""
        if self.cancel.is_set():
            return -1
        return 0 if now - self.stepped_at >= patience_s * self.priority else self.priority

    @property
    def waits(self) -> bool:
        """For its consumer. Ask on the event loop."""
        return self.results.qsize() >= self.ahead and not self.cancel.is_set()


@dataclass(eq=False)
class _Call(Generic[T]):
    """One function to be run once: a stream of one result, for half of a stream's messages between the threads."""

    function: Callable[..., T]
    arguments: tuple[object, ...]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[T]
    cancel: Cancel = field(default_factory=Cancel)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    runnable = True
    waits = False

    def rank(self, _now: float, _patience_s: float) -> int:
        return -1 if self.cancel.is_set() else 0


class Worker:
    """One thread with many iterators: the lowest `priority` first, equals in turn.

    What has waited `patience_s` times its priority for a step gets one among those of priority 0, so that under load
    the unhurried is slow and not forgotten.
    """

    def __init__(self, name: str, *, nice: int = 0, patience_s: float = _PATIENCE_S) -> None:
        """`nice`: how far this thread, and pools started from it, stand back behind the event loop (Linux)."""
        sys.setswitchinterval(_SWITCH_S)
        self.name = name
        self._nice = nice
        self._patience_s = patience_s
        self._closed = False
        self._closing = threading.Lock()  # nothing is handed over behind the end
        self._jobs: set[_Job[Any] | _Call[Any]] = set()  # handed over and not ended yet; the event loop's view
        self._inbox: queue.SimpleQueue[_Job[Any] | _Call[Any] | _End | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"voice-{name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Something is being worked on, as opposed to waiting for its consumer. Ask on the event loop."""
        return not all(job.waits for job in self._jobs)

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run one blocking call in the thread and return its result. Raises VoiceError("model_failed") once closed."""

        loop = asyncio.get_running_loop()
        call = _Call(function, arguments, loop, loop.create_future())
        self._hand_over(call)
        try:
            result: T = await call.result
            return result
        finally:
            call.cancel.set()  # nobody waits any more: if it has not begun, it never does

    async def stream(
        self, make: Callable[[Cancel], Iterator[T | Step]], *, priority: int = 0, ahead: int = 8
    ) -> AsyncGenerator[T, None]:
        """Iterate `make(cancel)` in the thread, at most `ahead` items before the consumer, who sees no `Step`.

        Leaving the loop (use `aclosing`) sets the cancel flag at once. Raises VoiceError("model_failed") once closed.
        """
        job: _Job[T] = _Job(make, priority, ahead, asyncio.get_running_loop())
        self._hand_over(job)
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

    def _hand_over(self, job: _Job[Any] | _Call[Any]) -> None:
        with self._closing:
            if self._closed:
                raise self._is_closed()
            self._jobs.add(job)
            self._inbox.put(job)

    def close(self) -> None:
        """Stop the thread after its current step; streams still open end."""
        with self._closing:
            self._closed = True
            self._inbox.put(None)

    def _is_closed(self) -> VoiceError:
        return VoiceError("model_failed", f"the engines of {self.name!r} have been closed")

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def _work(self) -> None:
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        active: list[_Job[Any] | _Call[Any]] = []
        while self._collect(active):
            self._advance(active)  # by itself: while this thread waits, it holds no work that is done, nor its sound
        for job in active:
            job.cancel.set()
            self._step(job)

    def _advance(self, active: list[_Job[Any] | _Call[Any]]) -> None:
        """Step whatever goes first."""
        now = time.monotonic()
        runnable = (job for job in active if job.runnable)
        job = min(runnable, key=lambda job: job.rank(now, self._patience_s), default=None)
        if job is None:
            return
        active.remove(job)
        if self._step(job):
            active.append(job)  # behind its equals

    def _collect(self, active: list[_Job[Any] | _Call[Any]]) -> bool:
        """Take in what was handed over; wait only when there is nothing to step. False once closed."""
        while True:
            try:
                message = self._inbox.get(block=not any(job.runnable for job in active))
            except queue.Empty:
                return True
            if message is None:
                return False
            if not isinstance(message, _End):
                active.append(message)

    def _step(self, job: _Job[Any] | _Call[Any]) -> bool:
        """One step of one iterator; False when it is over."""
        if isinstance(job, _Call):
            self._run(job)
            return False
        try:
            if job.cancel.is_set():
                if job.iterator is not None and hasattr(job.iterator, "close"):
                    job.iterator.close()
                self._finish(job, _END)
                return False
            if job.iterator is None:
                job.iterator = job.context.run(job.make, job.cancel)
            item = job.context.run(next, job.iterator)
        except StopIteration:
            self._finish(job, _END)
            return False
        except BaseException as error:  # handed to the consumer, which raises it in its own task
            self._finish(job, error)
            return False
        job.stepped_at = time.monotonic()
        if isinstance(item, Step):
            return True
        job.produced += 1
        return self._post(job, job.results.put_nowait, item)

    def _run(self, call: _Call[Any]) -> None:
        result: Any = None
        error: BaseException | None = self._is_closed() if call.cancel.is_set() else None
        if error is None:
            try:
                result = call.context.run(call.function, *call.arguments)
            except BaseException as raised:  # handed to the caller, which raises it in its own task
                error = raised

        def deliver() -> None:
            self._jobs.discard(call)
            if call.result.done():  # nobody waits for it
                return
            if error is not None:
                call.result.set_exception(error)
            else:
                call.result.set_result(result)

        self._post(call, deliver)

    def _finish(self, job: _Job[Any], end: BaseException | _End) -> None:
        def deliver() -> None:
            self._jobs.discard(job)
            job.results.put_nowait(end)

        self._post(job, deliver)

    @staticmethod
    def _post(job: _Job[Any] | _Call[Any], function: Callable[..., object], *arguments: object) -> bool:
        try:
            job.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the event loop is closed: nobody is left to tell
            return False
        return True
