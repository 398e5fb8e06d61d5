"""Listening: what is assumed when frames stop, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from scripted import Script, script
from voxtral_voice import config
from voxtral_voice.ear import Ear
from voxtral_voice.settings import SessionSettings
from voxtral_voice.types import HEAR_HZ


async def in_mid_speech(parts: Script, now: float) -> Ear:
    settings = config.load(environ={})
    ear = Ear(parts.engines, SessionSettings.of(settings).rules, settings.turns)
    ear.frame(now, 0.02)
    await ear.hear(np.full(HEAR_HZ, 0.42, np.float32), reply_heard=False)
    assert ear.waiting
    return ear


async def test_silence_is_assumed_where_frames_stop_in_mid_speech() -> None:
    parts = script()
    ear = await in_mid_speech(parts, 10.0)
    assert ear.missing_at() == pytest.approx(10.2)
    assert len(ear.missing(10.19)) == 0
    assert len(ear.missing(10.2)) == pytest.approx(0.2 * HEAR_HZ, abs=2)
    assert ear.missing_at() == pytest.approx(10.22)
    assert len(ear.missing(10.22)) == pytest.approx(0.02 * HEAR_HZ, abs=2)
    for worker in parts.workers:
        worker.close()


async def test_a_server_that_was_busy_looks_for_waiting_frames_before_it_assumes_silence() -> None:
    parts = script()
    ear = await in_mid_speech(parts, 10.0)
    assert len(ear.missing(11.0)) == 0  # asked 800 ms late: it was us who stalled
    later = ear.missing_at()
    assert later is not None
    assert 11.0 < later < 11.05
    assert len(ear.missing(later + 1.0)) > HEAR_HZ  # nothing came, and busy again or not: they have stopped
    for worker in parts.workers:
        worker.close()


async def test_while_nobody_speaks_sound_is_judged_a_few_windows_at_a_time() -> None:
    parts, settings = script(), config.load(environ={})
    ear = Ear(parts.engines, SessionSettings.of(settings).rules, settings.turns)
    window, judged = parts.detector.window_samples, []

    async def hear(level: float, *, reply_heard: bool = False) -> None:
        assert ear.taker is not None
        before = ear.taker.position
        await ear.hear(np.full(window, level, np.float32), reply_heard=reply_heard)
        judged.append((ear.taker.position - before) // window)

    for _ in range(6):
        await hear(0.0)
    assert judged == [0, 0, 3, 0, 0, 3]
    await hear(0.0)
    await hear(0.0, reply_heard=True)  # somebody may interrupt
    assert judged[6:] == [0, 2]
    for _ in range(5):
        await hear(0.42)
    assert judged[8:] == [0, 0, 3, 1, 1]  # and from the first speech on, window by window
    for worker in parts.workers:
        worker.close()
