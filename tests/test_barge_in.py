"""Interrupted at random moments, in real time: nothing of an old reply is heard after the decision."""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import threading
import time
from dataclasses import replace

import numpy as np

from scripted import Script, script
from voxtral_voice import config
from voxtral_voice.events import Event, ReplyAudio, ReplyDone, UserStarted
from voxtral_voice.metrics import Metrics
from voxtral_voice.session import Session
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ

ROUNDS = 150
# A word is over in 160 ms of audio, which comes in one piece: the moments are the session's, not the recording's.
QUICK = {"turns.start_ms": 32, "turns.barge_in_ms": 64, "turns.duck_ms": 32, "turns.draft_ms": 32, "turns.gap_ms": 64}


def hurried(parts: Script) -> None:
    parts.understander.hear_s, parts.understander.token_s = 0.002, 0.001
    parts.understander.answer = lambda said: f"You said {said}. " + "And so on and on. " * 10
    parts.synthesizer.clause_s = 0.02


def word(level: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    speech, silence = round(0.128 * HEAR_HZ), round(0.112 * HEAR_HZ)
    return np.concatenate([np.full(speech, level / 100, np.float32), np.zeros(silence, np.float32)])


class Listener:
    """Takes every event and holds each sound against the last decision."""

    def __init__(self) -> None:
        self.said_at = 0.0
        self.decided_ms: list[float] = []
        self.stale: list[Event] = []
        self.cancelled = 0
        self._turn = 0

    async def listen(self, session: Session) -> None:
        async for event in session.events():
            if isinstance(event, UserStarted):
                self._turn = event.turn
                self.decided_ms.append((time.perf_counter() - self.said_at) * 1000)
            elif isinstance(event, ReplyAudio) and event.turn < self._turn:
                self.stale.append(event)
            elif isinstance(event, ReplyDone) and event.status == "cancelled":
                self.cancelled += 1


async def interrupt_often(listener: Listener, parts: Script) -> None:
    configuration = config.load(overrides=QUICK, environ={})
    settings = SessionSettings.of(configuration)
    assert settings.rules is not None
    settings = replace(settings, rules=replace(settings.rules, grades=((0.0, 1024),), asks_endpoint=False))
    session = Session(parts.engines, configuration, Metrics(), settings)
    tasks = [asyncio.create_task(session.run()), asyncio.create_task(listener.listen(session))]
    chance = random.Random(7)
    for level in range(ROUNDS):
        listener.said_at = time.perf_counter()
        session.hear(word(10 + level % 80))
        await asyncio.sleep(chance.uniform(0.0, 0.12))
    session.close()
    await asyncio.gather(*tasks)


async def test_nothing_of_an_old_reply_is_heard_after_an_interruption() -> None:
    parts, listener = script(), Listener()
    hurried(parts)
    threads = set(threading.enumerate()) - {worker._thread for worker in parts.workers}
    tasks, memory_kb = asyncio.all_tasks(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await interrupt_often(listener, parts)

    assert listener.stale == []
    assert len(listener.decided_ms) == ROUNDS
    assert listener.cancelled > ROUNDS / 2
    # From the sound of the word to silence: two hops through a thread. The bar is 20 ms; twice that in the best of
    # three blocks, as the machine may be busy.
    blocks = [listener.decided_ms[start : start + ROUNDS // 3] for start in range(0, ROUNDS, ROUNDS // 3)]
    assert min(statistics.median(block) for block in blocks) <= 40, statistics.quantiles(listener.decided_ms)

    assert asyncio.all_tasks() == tasks
    for worker in parts.workers:
        worker.close()
        worker.join(5)
    assert set(threading.enumerate()) <= threads
    assert parts.understander.running == 0
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb) / 1024
    assert grown_mb < 100
