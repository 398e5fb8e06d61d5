"""The page in a real browser against the real server with scripted engines: what it shows and what it plays."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from browser import Visit, in_real_time, visiting
from realtime_client import speech
from realtime_server import quick, serving
from scripted import Script
from scripted_process import scripted_process
from voxtral_voice.types import Pcm


def talkative(parts: Script) -> None:
    """Answers that take 16 s to say: whatever is to happen meanwhile, does."""
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + "And one more thing to tell you now. " * 10
    parts.synthesizer.word_s = 0.2


def telling(parts: Script) -> None:
    """Answers that take 4 s to say, in six clauses."""
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + "And there is some more to say. " * 5


async def begin(visit: Visit) -> None:
    """Connected, and the microphone on."""
    await visit.page.click("#start")
    await visit.phase("listening")


def loud(pcm: Pcm, hz: int, floor: float = 0.02) -> list[tuple[float, float]]:
    """Stretches of sound in a recording, in seconds; gaps under 60 ms do not end one."""
    step = hz // 100
    level = np.array([np.sqrt(np.mean(pcm[at : at + step] ** 2)) for at in range(0, len(pcm) - step, step)])
    stretches: list[tuple[float, float]] = []
    for index in np.flatnonzero(level > floor):
        start, end = index / 100, (index + 1) / 100
        if stretches and start - stretches[-1][1] < 0.06:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return stretches


def levels(lines: list[str]) -> list[int]:
    """Which of 30, 42 and 60 was heard: edges of the sound ring in resamplers, and the loudest sample is the word."""
    heard = [re.match(r"word(\d+)", line) for line in lines]
    assert all(heard), lines
    return [min((30, 42, 60), key=lambda level: abs(level * 1.05 - int(each[1]))) for each in heard if each]


@in_real_time
async def test_three_spoken_turns_and_a_written_one_are_answered_aloud_and_saved() -> None:
    async with serving() as server, visiting(server.url) as visit:
        await begin(visit)
        for count, level in enumerate((30, 42, 60), 1):
            await visit.say(speech(0.6, level))
            await visit.heard(count)
        await visit.page.fill("#text", "What is your name?")
        await visit.page.press("#text", "Enter")
        await visit.heard(4)
        await visit.has("details.time", 4)
        said = await visit.lines("user")
        assert levels(said[:3]) == [30, 42, 60]
        assert said[3] == "What is your name?"
        answers = [f"You said {each}. That is all." for each in said]
        await visit.becomes(lambda: visit.lines("assistant"), answers)
        # What was heard lasts as long as the words take to say.
        pcm, _, hz = await visit.taken(1)
        played_s = sum(end - start for start, end in loud(pcm, hz))
        spoken_s = sum(len(answer.split()) for answer in answers) * server.script.synthesizer.word_s
        assert abs(played_s - spoken_s) < 0.25, (played_s, spoken_s)
        await visit.becomes(visit.page.locator("#summary dd").nth(2).inner_text, "4")
        await visit.becomes(visit.page.locator("#final").inner_text, f"Voxtral: {answers[-1]}")
        await visit.page.click("#settings-open")
        lines = [line for pair in zip(said, answers, strict=True) for line in pair]
        assert await saved(visit, "#export-text") == "\n".join(
            f"{who}: {line}\n" for who, line in zip(["You", "Voxtral"] * 4, lines, strict=True)
        )
        items = json.loads(await saved(visit, "#export-json"))["items"]
        assert [item["text"].strip() for item in items] == lines
        assert all(item["latency"]["voice_to_voice_heard_ms"] > 0 for item in items[1::2])


async def saved(visit: Visit, button: str) -> str:
    """What the file holds that a press on this button brings."""
    async with visit.page.expect_download() as download:
        await visit.page.click(button)
    return (await (await download.value).path()).read_text(encoding="utf-8")


@in_real_time
async def test_words_are_grey_while_the_user_speaks_and_the_reply_comes_in_step_with_its_sound() -> None:
    async with serving(telling) as server, visiting(server.url) as visit:
        await begin(visit)
        await visit.page.evaluate("room.watch()")
        await visit.say(speech(2.6, 42))
        await visit.heard(1)
        seen = await visit.page.evaluate("room.watched")
        user = [line for line in of(seen, "user") if line["text"] != "…"]
        assert levels([line["text"] for line in user]) == [42] * len(user)
        assert [line["final"] for line in (user[0], user[-1])] == [False, True]
        # Between its first sound and its last, as much of the answer is to be read as is to be heard, by a clause.
        pcm, from_s, hz = await visit.taken(1)
        stretches = loud(pcm, hz)
        start_s, end_s = from_s + stretches[0][0], from_s + stretches[-1][1]
        whole = len(of(seen, "assistant")[-1]["text"])
        shares = [
            (len(of([each], "assistant")[0]["text"]) / whole, (each["at"] - start_s) / (end_s - start_s))
            for each in seen
            if of([each], "assistant") and start_s + 0.3 < each["at"] < end_s
        ]
        assert len(shares) > 8
        assert all(abs(read - heard) < 0.25 for read, heard in shares), shares


def of(seen: list[Any], who: str) -> list[Any]:
    """The lines of one of the two, in the order in which they were seen."""
    return [line for each in seen for line in each["lines"] if line["who"] == who and line["text"]]


@in_real_time
async def test_esc_interrupts_and_interruptions_by_voice_can_be_switched_off() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        await visit.page.click("#settings-open")
        await visit.page.locator("#interruptions").uncheck()
        await visit.page.keyboard.press("Escape")
        await visit.say(speech(0.5, 42))
        await visit.phase("speakingThrough")
        await visit.say(speech(0.5, 60))
        await visit.came("input_audio_buffer.committed", 2)
        await visit.phase("speakingThrough")
        await visit.has("del", 0)
        await visit.page.keyboard.press("Escape")
        await visit.has("del", 1)
        await visit.has(".line.assistant:not([hidden])", 2)  # what was said meanwhile gets its answer
        await visit.has(".line.user[data-final]", 2)
        assert levels(await visit.lines("user")) == [42, 60]


@in_real_time
async def test_mute_neither_stops_the_reply_nor_loses_half_a_sentence() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        talking = asyncio.create_task(visit.say(speech(6, 42)))
        await visit.phase("hearing")
        await visit.sent(15)
        await visit.page.keyboard.press("m")
        await visit.pressed("#mute", True)
        await visit.phase("speaking")  # what was said before is answered
        assert levels(await visit.lines("user")) == [42]
        await talking  # and what is said on is not heard
        await visit.phase("speaking")
        await visit.has("del", 0)
        await visit.has(".line.user", 1)
        await visit.page.keyboard.press("m")
        await visit.pressed("#mute", False)
        await visit.say(speech(0.5, 60))
        await visit.has("del", 1)


@in_real_time
async def test_push_to_talk_hears_only_while_the_button_or_the_key_is_held() -> None:
    async with serving() as server, visiting(server.url) as visit:
        await visit.page.click("#settings-open")
        await visit.page.locator("#pushToTalk").check()
        await visit.page.keyboard.press("Escape")
        await visit.page.click("#start")
        await visit.phase("held")
        await visit.say(speech(0.5, 33))
        assert await visit.page.evaluate("room.appended") == 0
        button, keys = visit.page.locator("#start"), visit.page.keyboard
        for count, level in ((1, 42), (2, 60)):
            await button.hover()
            await (visit.page.mouse.down() if count == 1 else keys.down("Space"))
            await visit.phase("hearing")
            await visit.say(speech(0.6, level))
            await visit.sent(10)  # its last syllable is on its way from the microphone
            await (visit.page.mouse.up() if count == 1 else keys.up("Space"))
            await visit.heard(count)
        assert levels(await visit.lines("user")) == [42, 60]
        await visit.page.evaluate(
            "for (const kind of ['keydown', 'keyup']) "
            "document.body.dispatchEvent(new KeyboardEvent(kind, {code: 'Space', key: ' ', bubbles: true}))"
        )
        await visit.shows("#notice", "too short")


@in_real_time
async def test_the_conversation_outlives_the_server(tmp_path: Path) -> None:
    with ExitStack() as first:
        server = first.enter_context(scripted_process(tmp_path))
        async with visiting(f"http://127.0.0.1:{server.port}") as visit:
            await begin(visit)
            await visit.say(speech(0.6, 42))
            await visit.heard(1)
            await visit.page.fill("#text", "half a thought")
            first.close()  # killed, without a goodbye
            await visit.phase("reconnecting")
            await visit.shows("#hint", "Trying again in")
            await visit.becomes(visit.page.locator("#text").input_value, "half a thought")
            await visit.page.press("#text", "Enter")  # said while nobody listens: it is sent later
            with scripted_process(tmp_path, server.port):
                await visit.heard(2)
                await visit.phase("listening")
                assert levels((await visit.lines("user"))[:1]) == [42]
                opening, second = await visit.lines("user")
                assert second == "half a thought"
                told = [each["event"]["item"] for each in await visit.events("conversation.item.create", "out")]
                assert [(item["role"], item["content"][0]["text"]) for item in told] == [
                    ("user", opening),
                    ("assistant", f"You said {opening}. That is all."),
                    ("user", "half a thought"),
                ]
                await visit.say(speech(0.6, 60))
                await visit.heard(3)
                said = (await visit.lines("user"))[2]
                assert levels([said]) == [60]
                answers = [f"You said {each}. That is all." for each in (opening, second, said)]
                await visit.becomes(lambda: visit.lines("assistant"), answers)


async def test_choices_reach_the_server_and_survive_the_visit() -> None:
    async with serving() as server, visiting(server.url) as visit:
        page = visit.page
        await page.click("#connect")
        await visit.phase("ready")
        await page.click("#settings-open")
        await visit.until("document.querySelectorAll('#voice option').length === 55")
        assert await page.locator("#voice optgroup").count() == 9
        await page.select_option("#voice", "bf_emma")
        await page.select_option("#persona", "teacher")
        await page.locator(".segments label").nth(2).click()
        await page.locator("#headphones").check()
        await page.click("#sample")

        async def chosen() -> tuple[str, str, str, bool]:
            session = (await visit.events("session.updated"))[-1]["event"]["session"]
            heard = session["audio"]["input"]
            return (
                session["audio"]["output"]["voice"],
                heard["turn_detection"]["eagerness"],
                heard["noise_reduction"]["type"],
                "teacher" in session["instructions"],
            )

        async def spoken() -> list[str]:
            return server.script.synthesizer.spoken

        await visit.becomes(chosen, ("bf_emma", "high", "near_field", True))
        await visit.becomes(spoken, ["Hello, this is how I sound."])
        await page.reload()
        await page.click("#settings-open")
        await visit.becomes(lambda: page.locator("#voice").evaluate("(e) => e.value"), "bf_emma")
        assert await page.locator("#headphones").is_checked()
        kept = json.loads(await page.evaluate("localStorage['voxtral-voice.settings']"))
        assert (kept["voice"], kept["pace"], kept["headphones"]) == ("bf_emma", "high", True)


async def test_what_is_said_can_never_become_part_of_the_page() -> None:
    def hostile(parts: Script) -> None:
        quick(parts)
        parts.understander.answer = lambda said: "<img src=x onerror=alert(1)> <b>bold</b>"

    async with serving(hostile) as server, visiting(server.url) as visit:
        await visit.page.fill("#text", "<script>alert(1)</script>")
        await visit.page.click("#send")
        await visit.heard(1)
        assert await visit.lines("user") == ["<script>alert(1)</script>"]
        assert await visit.lines("assistant") == ["<img src=x onerror=alert(1)> <b>bold</b>"]
        assert await visit.page.locator(".lines img, .lines b:not(.spark b, .track b), .lines script").count() == 0
