"""The figure that the page shows, held against a recording of the room; and what happens after many minutes."""

from __future__ import annotations

import asyncio
from statistics import median

import numpy as np
import pytest

from browser import Visit, visiting
from realtime_client import speech
from realtime_server import quick, serving
from scripted import Script
from test_page import begin, loud

AUDIBLE = 10 ** (-45 / 20)


async def own_delay_s(visit: Visit) -> float:
    """How much later the ear has what the mouth said, with no page in between: a click, too short to be a word."""
    await visit.page.evaluate("room.loop(true)")
    await asyncio.sleep(0.2)
    from_s = await visit.now_s()
    await visit.say(speech(0.04, 42))
    await asyncio.sleep(0.25)
    said, said_s, hz = await visit.taken(0, from_s)
    heard, heard_s, _ = await visit.taken(1, from_s)
    await visit.page.evaluate("room.loop(false)")
    return heard_s + loud(heard, hz, 0.1)[0][0] - (said_s + loud(said, hz, 0.1)[0][0])


async def test_the_figure_under_an_answer_is_what_a_recording_of_the_room_shows() -> None:
    """From the end of what is said to the beginning of what is heard, both as the room's recorder has them.

    The ways from the mouth to the page and from the page to the ear are streams between contexts, which buffer: that is
    measured after each turn and taken off. The recorder sits before the device: what the browser says of the device's
    own delay is added.
    """
    off_ms = []
    async with serving() as server, visiting(server.url) as visit:
        await begin(visit)
        for count in range(1, 11):
            from_s = await visit.now_s()
            await visit.say(speech(0.5, 42))
            await visit.heard(count)
            said, said_s, hz = await visit.taken(0, from_s)
            heard, heard_s, _ = await visit.taken(1, from_s)
            end_s = said_s + loud(said, hz, 0.21)[-1][1]  # half the level: the middle of the fade
            start_s = heard_s + loud(heard, hz, AUDIBLE)[0][0]
            device_s = await visit.page.evaluate("room.page.baseLatency + room.page.outputLatency")
            shown_ms = float(await visit.page.locator("details.time").last.get_attribute("data-ms") or "nan")
            recorded_s = start_s - end_s - await own_delay_s(visit) + device_s
            off_ms.append(round(float(shown_ms - recorded_s * 1000), 1))
    assert abs(median(off_ms)) <= 30, off_ms


def brief(parts: Script) -> None:
    quick(parts)
    parts.understander.answer = lambda said: "Here are a few more words for you to hear. And these are the last."


async def heap_bytes(visit: Visit) -> float:
    """Of the page, after everything that can go has gone."""
    line = await visit.page.context.new_cdp_session(visit.page)
    await visit.page.evaluate("room.forget()")
    await line.send("HeapProfiler.collectGarbage")
    used = await line.send("Runtime.getHeapUsage")
    await line.detach()
    return float(used["usedSize"])


@pytest.mark.parametrize(
    "lasting",
    [0.7, pytest.param(3, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.slow)],
    ids=lambda each: f"{each} minutes",
)
async def test_nothing_grows_and_nothing_drifts(lasting: float) -> None:
    async with serving(brief) as server, visiting(server.url) as visit:
        await begin(visit)
        began = await visit.now_s()
        heaps, late_ms = [], []
        while await visit.now_s() - began < lasting * 60:
            await visit.say(speech(0.5, 42))
            await visit.phase("speaking")
            await visit.phase("listening")
            heaps.append(await heap_bytes(visit))
            # Words and sound end together, and nothing is left unsent or unplayed.
            assert (await visit.lines("assistant"))[-1].endswith("the last.")
            assert await visit.page.evaluate("room.socket.bufferedAmount") < 20_000
            late_ms.append(float(await visit.page.locator("details.time").last.get_attribute("data-ms") or "nan"))
    quarter = max(1, len(heaps) // 4)
    grown = np.median(heaps[-quarter:]) - np.median(heaps[quarter : 2 * quarter])
    turns = len(heaps) - 2 * quarter
    assert grown < 1_000_000 + 12_000 * turns, f"{grown:.0f} bytes in {turns} turns"  # a turn's lines stay on the page
    assert np.median(late_ms[-quarter:]) - np.median(late_ms[:quarter]) < 60, late_ms
