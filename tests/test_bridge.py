"""The Worker: one thread, many iterators, and what its consumers may rely on."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

import pytest

from realtime_server import until
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.types import Cancel, Step, VoiceError


@contextmanager
def worker() -> Iterator[Worker]:
    made = Worker("test", patience_s=60)
    try:
        yield made
    finally:
        made.close()
        made.join(5)
        assert f"voice-{made.name}" not in [thread.name for thread in threading.enumerate()]


async def settled(worker: Worker) -> None:
    """Until nothing is being worked on: the thread's last word takes a moment to come back."""
    await until(lambda: not worker.busy, "the end of its work")


class Steps:
    """Iterators that write down each step they take."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gate = threading.Event()
        """The first iterator waits for it, so that the others are there when stepping begins."""

    def make(self, name: str, count: int, *, waits: bool = False) -> Callable[[Cancel], Iterator[str]]:
        def steps(cancel: Cancel) -> Iterator[str]:
            if waits:
                self.gate.wait(60)
            for index in range(count):
                self.log.append(name)
                yield f"{name}{index}"

        return steps


async def collect(source: Worker, make: Callable[[Cancel], Iterator[str]], priority: int = 0) -> list[str]:
    async with aclosing(source.stream(make, priority=priority)) as items:
        return [item async for item in items]


async def test_a_call_runs_in_the_thread_and_brings_its_result_back() -> None:
    with worker() as made:
        assert await made.call(lambda: threading.current_thread().name) == "voice-test"
        assert await made.call(divmod, 7, 2) == (3, 1)


async def test_items_come_in_order_and_none_is_lost() -> None:
    with worker() as made:
        assert await collect(made, Steps().make("a", 500)) == [f"a{index}" for index in range(500)]


async def test_equals_advance_in_turn() -> None:
    steps = Steps()
    with worker() as made:
        tasks = [asyncio.create_task(collect(made, steps.make(name, 6, waits=name == "a"))) for name in ("a", "b", "c")]
        await asyncio.sleep(0.05)
        steps.gate.set()
        await asyncio.gather(*tasks)
    assert "".join(steps.log) == "abc" * 6 or "".join(steps.log) == "a" + "bca" * 5 + "bc"


async def test_what_matters_more_goes_first() -> None:
    steps = Steps()
    with worker() as made:
        first = asyncio.create_task(collect(made, steps.make("-", 1, waits=True)))
        await asyncio.sleep(0.05)
        tasks = [asyncio.create_task(collect(made, steps.make(str(p), 4), priority=p)) for p in (2, 0, 1)]
        await asyncio.sleep(0.05)
        steps.gate.set()
        await asyncio.gather(first, *tasks)
    assert "".join(steps.log) == "-" + "0000" + "1111" + "2222"


async def test_a_producer_stays_a_few_items_ahead_of_a_slow_consumer() -> None:
    steps = Steps()
    with worker() as made:
        async with aclosing(made.stream(steps.make("a", 100), ahead=3)) as items:
            for taken in range(1, 6):
                await anext(items)
                await until(lambda taken=taken: len(steps.log) >= taken + 3)  # type: ignore[misc]
                await settled(made)  # it waits for its consumer
                assert len(steps.log) == taken + 3
        assert await made.call(lambda: 7) == 7  # and holds nobody up


async def test_leaving_sets_the_flag_and_stops_the_iterator_within_a_step() -> None:
    flags: list[Cancel] = []
    closed = threading.Event()

    def endless(cancel: Cancel) -> Iterator[int]:
        flags.append(cancel)
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            closed.set()

    with worker() as made:
        async with aclosing(made.stream(endless)) as items:
            await anext(items)
            assert not flags[0].is_set()
        assert flags[0].is_set()
        assert await asyncio.to_thread(closed.wait, 60)
        await made.call(lambda: None)
        await settled(made)


async def test_a_cancelled_task_stops_the_engine() -> None:
    begun, stopped, over = threading.Event(), threading.Event(), threading.Event()

    def patient(cancel: Cancel) -> Iterator[int]:
        cancel.on_set(stopped.set)
        yield 1
        begun.set()
        over.wait(60)

    async def consume() -> None:
        async with aclosing(made.stream(patient)) as items:
            async for _ in items:
                pass

    with worker() as made:
        task = asyncio.create_task(consume())
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped.is_set()  # by the task itself, while the engine is in the middle of a step
        over.set()


async def test_one_that_was_cancelled_before_its_turn_is_never_begun() -> None:
    steps = Steps()
    with worker() as made:
        first = asyncio.create_task(collect(made, steps.make("-", 1, waits=True)))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(collect(made, steps.make("b", 1)))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait([second])
        steps.gate.set()
        await first
        await made.call(lambda: None)
    assert steps.log == ["-"]


async def test_an_error_is_raised_where_the_items_are_taken_and_the_thread_lives_on() -> None:
    def fails(cancel: Cancel) -> Iterator[str]:
        yield "a"
        raise VoiceError("out_of_memory", "no memory left")

    def refuse() -> None:
        raise ValueError("no")

    with worker() as made:
        items = made.stream(fails)
        async with aclosing(items):
            assert await anext(items) == "a"
            with pytest.raises(VoiceError, match="no memory left"):
                await anext(items)
        with pytest.raises(ValueError, match="no"):
            await made.call(refuse)
        assert await made.call(lambda: 7) == 7
        await settled(made)


async def test_closing_ends_streams_that_are_still_open() -> None:
    made = Worker("test")
    items = made.stream(Steps().make("a", 1000), ahead=2)
    async with aclosing(items):
        await anext(items)
        made.close()
        left = [item async for item in items]
    assert len(left) <= 3
    made.join(5)
    made.close()


async def test_what_waits_too_long_gets_a_step_though_others_matter_more() -> None:
    stop, stepped, before = threading.Event(), threading.Event(), list[int]()

    def replies(cancel: Cancel) -> Iterator[int]:
        while not stop.is_set():
            if not stepped.is_set():
                before.append(1)
            time.sleep(0.005)
            yield 1

    def unhurried(cancel: Cancel) -> Iterator[int]:
        stepped.set()
        yield 1

    async def consume(make: Callable[[Cancel], Iterator[int]], priority: int) -> None:
        async with aclosing(made.stream(make, priority=priority)) as items:
            async for _ in items:
                pass

    made = Worker("test", patience_s=0.2)
    tasks = [asyncio.create_task(consume(replies, 0)), asyncio.create_task(consume(replies, 0))]
    tasks.append(asyncio.create_task(consume(unhurried, 2)))
    assert await asyncio.to_thread(stepped.wait, 60)
    assert len(before) > 2  # the replies went first until then
    stop.set()
    await asyncio.gather(*tasks)
    made.close()
    made.join(5)


async def test_work_that_brings_nothing_yet_lets_others_step_in_between() -> None:
    log, gate = list[str](), threading.Event()

    def hears(name: str) -> Callable[[Cancel], Iterator[str | Step]]:
        def steps(cancel: Cancel) -> Iterator[str | Step]:
            gate.wait(60)
            for _ in range(3):
                log.append(name)
                yield Step()
            yield name

        return steps

    async def words(name: str) -> list[str]:
        async with aclosing(made.stream(hears(name))) as items:
            return [item async for item in items]

    with worker() as made:
        tasks = [asyncio.create_task(words(name)) for name in ("a", "b")]
        await asyncio.sleep(0.05)
        gate.set()
        assert await asyncio.gather(*tasks) == [["a"], ["b"]]
    assert "".join(log) == "ababab"


async def test_a_closed_worker_says_so_at_once() -> None:
    with worker() as made:
        pass
    async with asyncio.timeout(30):
        with pytest.raises(VoiceError, match="have been closed"):
            await made.call(lambda: 7)
        with pytest.raises(VoiceError, match="have been closed"):
            await collect(made, Steps().make("a", 1))


async def test_a_call_that_was_waiting_when_the_worker_closed_says_so_too() -> None:
    steps = Steps()
    with worker() as made:
        first = asyncio.create_task(collect(made, steps.make("-", 1, waits=True)))
        second = asyncio.create_task(made.call(lambda: 7))
        await asyncio.sleep(0.05)
        made.close()
        steps.gate.set()
        async with asyncio.timeout(30):
            with pytest.raises(VoiceError, match="have been closed"):
                await second
        await first


async def test_the_log_of_an_engine_says_whose_work_it_is() -> None:
    whose = contextvars.ContextVar("whose", default="nobody's")

    async def ask(name: str) -> str:
        whose.set(name)
        return await made.call(whose.get)

    with worker() as made:
        assert await asyncio.gather(*(asyncio.create_task(ask(name)) for name in ("a", "b"))) == ["a", "b"]
