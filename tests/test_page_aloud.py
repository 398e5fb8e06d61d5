"""The page and the real CPU models: a recorded voice as the microphone, and Whisper at the loudspeaker."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jiwer
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from browser import Visit, in_real_time, need_browser, visiting
from loaded_server import loaded
from model_fixtures import Recording, speech
from scripted_process import free_port, wait_for
from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, Pcm
from whole_program import Program

__all__ = ["speech"]

pytestmark = pytest.mark.models


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


async def new_line(visit: Visit, who: str, count: int) -> str:
    """The last line, once there are so many and all of it is shown."""
    await visit.until(f"document.querySelectorAll('.line.{who}[data-final]:not([hidden])').length >= {count}")
    await visit.drawn()
    return (await visit.lines(who))[-1]


@in_real_time
async def test_three_turns_are_understood_shown_and_spoken(program: Program, speech: Recording) -> None:
    need_browser()
    async with loaded(program) as url, visiting(url) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        rates = []
        for count in range(1, 4):
            from_s = await visit.now_s()
            await visit.say(spoken(speech), HEAR_HZ)
            await visit.heard(count)
            assert errors(speech.text, await new_line(visit, "user", count)) < 0.35
            answer = await new_line(visit, "assistant", count)
            rates.append(errors(answer, await heard_text(visit, program, from_s)))
        assert float(np.mean(rates)) < 0.2, rates
        from_s = await visit.now_s()
        await visit.page.fill("#text", "How old is the bridge?")
        await visit.page.press("#text", "Enter")
        await visit.heard(4)
        assert await new_line(visit, "user", 4) == "How old is the bridge?"
        answer = await new_line(visit, "assistant", 4)
        assert errors(answer, await heard_text(visit, program, from_s)) < 0.3


@in_real_time
async def test_a_held_button_and_an_interruption(program: Program, speech: Recording) -> None:
    need_browser()
    async with loaded(program) as url, visiting(url) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.phase("speaking")
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.has(".line.assistant del", 1)
        await visit.heard(2)
        await visit.page.click("#settings-open")
        await visit.page.locator("#pushToTalk").check()
        await visit.page.keyboard.press("Escape")
        await visit.phase("held")
        await visit.until("document.activeElement.id === 'start'")
        await visit.page.keyboard.down("Space")
        await visit.phase("hearing")
        await visit.say(spoken(speech), HEAR_HZ)
        await visit.sent(10)
        await visit.page.keyboard.up("Space")
        await visit.heard(3)
        assert errors(speech.text, await new_line(visit, "user", 3)) < 0.35
        await visit.has("details.time", 3)


@contextmanager
def real_server(folder: Path, port: int) -> Iterator[str]:
    """`voxtral-voice serve` with one place and the key "the-key", once its models are there; killed in the end."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("VOXTRAL_", "PORT"))}
    chosen = {"PROFILE": "cpu", "API_KEY": "the-key", "LIMITS__SESSIONS": "1", "ENGINES__REPLY": "template"}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "voxtral_voice.cli", "serve", "--port", str(port), "--host", "127.0.0.1"],
            env={**inherited, **{f"VOXTRAL_{name}": text for name, text in chosen.items()}},
            stderr=log,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow  # the program starts twice; test_page.py has the same with scripted engines
@in_real_time
async def test_keys_places_a_microphone_and_the_server_itself_may_be_missing(
    program: Program, speech: Recording, tmp_path: Path
) -> None:
    """One visit: no key, a wrong one, no place, no microphone, half a sentence and a mute, and a server that dies."""
    need_browser()
    port = free_port()
    with ExitStack() as first:
        url = first.enter_context(real_server(tmp_path, port))
        async with visiting(url) as visit:
            await no_key_and_no_place(visit, url)
            await no_microphone(visit, program)
            await half_a_sentence(visit, program, speech)
            first.close()
            await visit.shows("#hint", "Trying again in")
            with real_server(tmp_path, port):
                await the_conversation_goes_on(visit, program, speech)


async def no_key_and_no_place(visit: Visit, url: str) -> None:
    await visit.page.click("#connect")
    await visit.shows("#phase", "wants a key")
    await visit.page.fill("#key", "another")
    await visit.page.press("#key", "Enter")
    await visit.shows("#phase", "not the right one")
    protocols = [Subprotocol("realtime"), Subprotocol("openai-insecure-api-key.the-key")]
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime", subprotocols=protocols) as other:
        await other.recv()
        await visit.page.fill("#key", "the-key")
        await visit.page.press("#key", "Enter")
        await visit.shows("#phase", "All places are taken")
        await visit.shows("#hint", "Trying again in")
    await visit.phase("ready")  # by itself, once the place is free


async def no_microphone(visit: Visit, program: Program) -> None:
    await visit.page.evaluate("room.denied = 'NotAllowedError'")
    await visit.page.click("#start")
    await visit.shows("#phase", "not allowed")
    await visit.shows("#trouble-cure", "Allow it")
    await visit.page.fill("#text", "How old is the bridge?")
    await visit.page.press("#text", "Enter")
    await visit.heard(1)
    answer = await new_line(visit, "assistant", 1)
    assert errors(answer, await heard_text(visit, program, 0)) < 0.3
    await visit.page.evaluate("room.denied = ''")
    await visit.page.click("#retry")
    await visit.phase("listening")


async def half_a_sentence(visit: Visit, program: Program, speech: Recording) -> None:
    """What was said before the mute is answered; what is said behind it neither stops the answer nor is heard."""
    from_s = await visit.now_s()
    talking = asyncio.create_task(visit.say(np.tile(spoken(speech), 3), HEAR_HZ))
    await visit.phase("hearing")
    await visit.sent(40)
    await visit.page.locator("body").press("m")
    await visit.pressed("#mute", True)
    await visit.heard(2)
    await talking
    assert speech.text.split()[0].lower() in (await new_line(visit, "user", 2)).lower()
    answer = await new_line(visit, "assistant", 2)
    assert errors(answer, await heard_text(visit, program, from_s)) < 0.3
    await visit.has("del", 0)
    await visit.page.click("#mute")
    await visit.pressed("#mute", False)
    await visit.phase("listening")


async def the_conversation_goes_on(visit: Visit, program: Program, speech: Recording) -> None:
    user, assistant = await visit.lines("user"), await visit.lines("assistant")
    await visit.phase("listening")
    told = [each["event"]["item"] for each in await visit.events("conversation.item.create", "out")][-4:]
    assert [item["content"][0]["text"] for item in told] == [user[0], assistant[0], user[1], assistant[1]]
    from_s = await visit.now_s()
    await visit.say(spoken(speech), HEAR_HZ)
    await visit.heard(3)
    assert errors(speech.text, await new_line(visit, "user", 3)) < 0.35
    answer = await new_line(visit, "assistant", 3)
    assert errors(answer, await heard_text(visit, program, from_s)) < 0.3
