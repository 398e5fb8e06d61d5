"""Many minutes of talk: the page does not hear itself, nothing grows, and words and sound stay together.

A real voice answers, into a room that sends it back 20 dB down and 100-250 ms late, and no browser cancels it. The ear
at the server is the real one too. What is answered is written beforehand, and each clause is spoken once by the model
and then as it was, so that the machine is free.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from browser import Visit, in_real_time, need_browser, visiting
from model_fixtures import Recording, model_folder, speech
from realtime_server import quick, serving
from scripted import Script
from test_page import begin, loud
from test_page_figures import shown_ms
from voxtral_voice.engines.kokoro_onnx import KokoroOnnx
from voxtral_voice.types import HEAR_HZ, Cancel, Pcm, Voice
from voxtral_voice.vad import SileroDetector

__all__ = ["speech"]

pytestmark = pytest.mark.models
LOG = logging.getLogger(__name__)
ANSWER = (
    "The lighthouse keeper walked down to the harbour every morning, counted the boats, and wrote their names into a "
    "green book, because his father had done so, and because nobody had ever told him to stop."
)
SPOKEN_EVERY = 4  # turns: the others are written


class Reader:
    """A voice that reads a clause once and then plays what it read."""

    def __init__(self) -> None:
        self.kokoro = KokoroOnnx(model_folder("kokoro_onnx"), model_folder("kokoro_voices"), threads=2)
        self.read: dict[str, Pcm] = {}

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        if clause not in self.read:
            parts = list(self.kokoro.speak(clause, voice, Cancel()))
            self.read[clause] = np.concatenate(parts)
        yield self.read[clause]


@pytest.fixture
def reader() -> Iterator[Reader]:
    need_browser()
    reader = Reader()
    yield reader
    reader.kokoro.close()


@dataclass(frozen=True)
class Turn:
    heap_bytes: float
    """Of the page before it, after everything that can go has gone."""
    talked_s: float
    drift_ms: float
    """From the last sound heard to the last words shown."""
    late_ms: float
    """The figure under the answer."""


@pytest.mark.parametrize(
    "minutes",
    [3, pytest.param(10, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.slow)],
    ids=lambda each: f"{each} minutes",
)
@in_real_time
async def test_minutes_of_talk_over_a_loudspeaker(minutes: float, reader: Reader, speech: Recording) -> None:
    ear = SileroDetector(model_folder("silero"))

    def prepare(parts: Script) -> None:
        quick(parts)
        parts.understander.answer = lambda said: ANSWER
        parts.detector.start = ear.start  # type: ignore[method-assign]
        parts.detector.probability = ear.probability  # type: ignore[method-assign]
        parts.synthesizer.speak = reader.speak  # type: ignore[method-assign]

    async with (
        serving(prepare) as server,
        visiting(server.url, before="room.echo = {gain: 0.1, delay_s: 0.1};") as visit,
    ):
        await begin(visit)
        await visit.page.evaluate("room.watch()")
        turns: list[Turn] = []
        while sum(turn.talked_s for turn in turns) < minutes * 60:
            turns.append(await one_turn(visit, len(turns), speech))
    check(turns)


async def one_turn(visit: Visit, number: int, speech: Recording) -> Turn:
    heap = await heap_bytes(visit)
    await visit.page.evaluate(f"room.delay && (room.delay.delayTime.value = {0.1 + 0.05 * (number % 4)})")
    began_s, cuts = await visit.now_s(), await visit.page.locator("del").count()
    spoken = number % SPOKEN_EVERY == 0
    if spoken:
        await visit.say(speech.pcm * np.float32(0.3 / np.max(np.abs(speech.pcm))), HEAR_HZ)
    else:
        await visit.page.fill("#text", "And then?")
        await visit.page.press("#text", "Enter")
    await visit.heard(1)
    await visit.becomes(lambda: last(visit), ANSWER)
    pcm, from_s, hz = await visit.taken(1, began_s)
    stretches = loud(pcm, hz)
    start_s, end_s = from_s + stretches[0][0], from_s + stretches[-1][1]
    started = [each for each in await visit.events("input_audio_buffer.speech_started") if each["at"] > start_s]
    assert started == [], f"it has interrupted itself in turn {number}"
    if (
        not spoken
    ):  # a browser that stands still amid a sentence tears it, and its second half ends the answer to the first
        await visit.has("del", cuts)
    echo, _, _ = await visit.taken(0, start_s)
    assert np.max(np.abs(echo)) > 0.005, "there was no echo to be kept out"
    assert await visit.page.evaluate("room.socket.bufferedAmount") < 20_000
    read_s = await visit.page.evaluate("room.watched.at(-1).at")
    return Turn(heap, end_s - start_s, (read_s - end_s) * 1000, await shown_ms(visit))


async def last(visit: Visit) -> str:
    """The last answer, as far as it is shown."""
    return (await visit.lines("assistant"))[-1]


async def heap_bytes(visit: Visit) -> float:
    line = await visit.page.context.new_cdp_session(visit.page)
    await visit.page.evaluate("room.forget()")
    await line.send("HeapProfiler.collectGarbage")
    used = await line.send("Runtime.getHeapUsage")
    await line.detach()
    return float(used["usedSize"])


def check(turns: list[Turn]) -> None:
    quarter = max(1, len(turns) // 4)
    first, second, end = turns[:quarter], turns[quarter : 2 * quarter], turns[-quarter:]
    grown = np.median([each.heap_bytes for each in end]) - np.median([each.heap_bytes for each in second])
    drift_ms = np.median([each.drift_ms for each in end]) - np.median([each.drift_ms for each in first])
    late_ms = np.median([each.late_ms for each in end]) - np.median([each.late_ms for each in first])
    LOG.info(
        "%d turns, %.0f s of talk, no self-interruption; from the second quarter to the last: heap %+.0f kB (%.0f to "
        "%.0f kB in all); from the first quarter to the last: words against sound %+.0f ms, first sound %+.0f ms",
        len(turns),
        sum(each.talked_s for each in turns),
        grown / 1000,
        min(each.heap_bytes for each in turns) / 1000,
        max(each.heap_bytes for each in turns) / 1000,
        drift_ms,
        late_ms,
    )
    # A turn's lines stay on the page; a queue that grew would be seconds late.
    assert grown < 1_000_000 + 12_000 * (len(turns) - 2 * quarter), [each.heap_bytes for each in turns]
    assert abs(drift_ms) < 250, [each.drift_ms for each in turns]
    assert late_ms < 500, [each.late_ms for each in turns]
