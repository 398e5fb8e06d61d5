"""The page and the real CPU models: a recorded voice as the microphone, and Whisper at the loudspeaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jiwer
import numpy as np
import pytest

from browser import Visit, need_browser, visiting
from model_fixtures import Recording, speech
from realtime_server import ScriptedManager, Served
from voxtral_voice import audio, config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.server.app import create_app
from voxtral_voice.server.run import Server
from voxtral_voice.types import HEAR_HZ, Pcm
from whole_program import Program

__all__ = ["speech"]

pytestmark = pytest.mark.models


class Loaded(ScriptedManager):
    """The manager of models that are loaded already, and that another test needs afterwards."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.profile = "cpu"
        self.closed = False
        self.become("ready")

    @property
    def engines(self) -> Engines:
        return self.program.engines


@asynccontextmanager
async def served(program: Program) -> AsyncIterator[str]:
    """The whole server with its real models; its address."""
    settings = config.load(
        overrides={"server.host": "127.0.0.1", "server.port": 0, "engines.reply": "template"}, environ={}
    )
    manager = Loaded(program)
    runner = Server(create_app(settings, manager), settings)
    serve = asyncio.create_task(runner.serve())
    while not runner.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield Served(runner, manager, settings).url
    finally:
        runner.should_exit = True
        await serve


def spoken(recording: Recording) -> Pcm:
    """At the level of a voice before a microphone, with silence behind."""
    pcm = recording.pcm * (0.3 / max(0.01, float(np.max(np.abs(recording.pcm)))))
    quiet = np.zeros(HEAR_HZ // 4, np.float32)
    return np.concatenate([pcm.astype(np.float32), quiet])


async def heard_text(visit: Visit, program: Program, from_s: float) -> str:
    """What came out of the loudspeaker since then, as Whisper writes it down."""
    pcm, _, hz = await visit.taken(1, from_s)
    return await program.write_down(audio.resample(pcm, hz, HEAR_HZ), HEAR_HZ)


def errors(reference: str, hypothesis: str) -> float:
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.RemoveMultipleSpaces()])
    rate: float = jiwer.wer(plain(reference), plain(hypothesis))
    return rate


async def test_three_turns_are_understood_shown_and_spoken(program: Program, speech: Recording) -> None:
    need_browser()
    async with served(program) as url, visiting(url) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        rates = []
        for count in range(1, 4):
            from_s = await visit.now_s()
            await visit.say(spoken(speech), HEAR_HZ)
            await visit.heard(count, 40)
            assert errors(speech.text, (await visit.lines("user"))[-1]) < 0.35
            answer = (await visit.lines("assistant"))[-1]
            rates.append(errors(answer, await heard_text(visit, program, from_s)))
        assert float(np.mean(rates)) < 0.2, rates
        from_s = await visit.now_s()
        await visit.page.fill("#text", "How old is the bridge?")
        await visit.page.press("#text", "Enter")
        await visit.heard(4, 40)
        assert (await visit.lines("user"))[-1] == "How old is the bridge?"
        answer = (await visit.lines("assistant"))[-1]
        assert errors(answer, await heard_text(visit, program, from_s)) < 0.3


async def test_a_held_button_and_an_interruption(program: Program, speech: Recording) -> None:
    need_browser()
    async with served(program) as url, visiting(url) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.phase("speaking", within_s=30)
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.until("document.querySelectorAll('.line.assistant del').length === 1", 20)
        await visit.heard(2, 40)
        await visit.page.click("#settings-open")
        await visit.page.locator("#pushToTalk").check()
        await visit.page.keyboard.press("Escape")
        await visit.phase("held")
        await visit.until("document.activeElement.id === 'start'")
        await visit.page.keyboard.down("Space")
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.page.keyboard.up("Space")
        await visit.heard(3, 40)
        assert errors(speech.text, (await visit.lines("user"))[-1]) < 0.35
        assert await visit.page.locator("details.time").count() == 3


LONG = (
    "The lighthouse keeper walked down to the harbour every morning, counted the boats, and wrote their names into a "
    "green book, because his father had done so, and because nobody had ever told him to stop."
)


def minutes(usual: float, *more: float) -> list[object]:
    """How long a test lasts: the first by default, the others by hand."""
    return [usual, *(pytest.param(each, marks=pytest.mark.slow) for each in more)]


@pytest.mark.parametrize("lasting", minutes(0.7, 3, 10), ids=lambda each: f"{each} minutes")
async def test_the_page_does_not_interrupt_itself(program: Program, lasting: float) -> None:
    """Its own voice comes back 20 dB down and 100-250 ms late, and no browser cancels it."""
    need_browser()
    async with served(program) as url, visiting(url, before="room.echo = {gain: 0.1, delay_s: 0.1};") as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        talked_s, count = 0.0, 0
        while talked_s < lasting * 60:
            await visit.page.fill("#text", LONG)
            await visit.page.press("#text", "Enter")
            await visit.phase("speaking", within_s=30)
            began = await visit.now_s()
            delay_s = 0.1 + 0.15 * (count % 4) / 3
            await visit.page.evaluate(f"room.delay.delayTime.value = {delay_s}")
            count += 1
            await visit.heard(count, 60)
            talked_s += await visit.now_s() - began
            assert await visit.events("input_audio_buffer.speech_started") == [], f"after {talked_s:.0f} s"
        assert await visit.page.locator("del").count() == 0
        pcm, _, _ = await visit.taken(0, began)
        assert np.max(np.abs(pcm)) > 0.005, "there was no echo to be kept out"
