"""The page in a real browser against the real server with scripted engines: what it shows and what it plays."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from websockets.asyncio.client import connect

from browser import Visit, visiting
from realtime_client import speech
from realtime_server import Served, quick, serving
from scripted import Script
from scripted_process import scripted_process
from voxtral_voice.types import Pcm


def talkative(parts: Script) -> None:
    """Answers that take 6 s to say."""
    quick(parts)
    parts.understander.answer = lambda said: f"You said {said}. " + "And one more thing to tell you now. " * 7


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
    return [min((30, 42, 60), key=lambda level: abs(level * 1.05 - int(line.removeprefix("word")))) for line in lines]


async def test_three_spoken_turns_and_a_written_one_are_answered_aloud() -> None:
    async with serving() as server, visiting(server.url) as visit:
        await begin(visit)
        for count, level in enumerate((30, 42, 60), 1):
            await visit.say(speech(0.6, level))
            await visit.heard(count)
        await visit.page.fill("#text", "What is your name?")
        await visit.page.press("#text", "Enter")
        await visit.heard(4)
        said = await visit.lines("user")
        assert levels(said[:3]) == [30, 42, 60]
        assert said[3] == "What is your name?"
        answers = [f"You said {each}. That is all." for each in said]
        assert await visit.lines("assistant") == answers
        # What was heard lasts as long as the words take to say.
        pcm, _, hz = await visit.taken(1)
        played_s = sum(end - start for start, end in loud(pcm, hz))
        spoken_s = sum(len(answer.split()) for answer in answers) * server.script.synthesizer.word_s
        assert abs(played_s - spoken_s) < 0.25
        figures = await visit.page.locator("details.time").all()
        assert len(figures) == 4
        assert await visit.page.locator("#summary dd").nth(2).inner_text() == "4"
        assert await visit.page.locator("#final").inner_text() == f"Voxtral: {answers[-1]}"


async def test_words_are_grey_while_the_user_speaks_and_the_reply_comes_in_step_with_its_sound() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        talking = asyncio.create_task(visit.say(speech(2.6, 42)))
        await visit.phase("hearing")
        await visit.until("document.querySelector('.line.user .words')?.textContent.startsWith('word42')")
        assert await visit.page.locator(".line.user[data-final]").count() == 0
        await talking
        await visit.phase("speaking")
        await visit.until("document.querySelector('.line.assistant .words')?.textContent.length > 20")
        some = len((await visit.lines("assistant"))[0])
        await asyncio.sleep(1)
        more = len((await visit.lines("assistant"))[0])
        assert some < more < len(server.script.understander.answer("word42"))
        assert await visit.page.locator(".line.user[data-final]").count() == 1


async def test_speaking_over_the_reply_silences_it_at_once() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        await visit.say(speech(0.5, 42))
        silences_ms = []
        for count in range(1, 11):
            await visit.phase("speaking")
            await asyncio.sleep(0.4)
            await visit.say(speech(0.5, 42 + count))
            await visit.until(
                f"room.events.filter((e) => e.event.type === 'input_audio_buffer.speech_started').length >= {count + 1}"
            )
            event = (await visit.events("input_audio_buffer.speech_started"))[-1]
            await asyncio.sleep(0.15)
            pcm, from_s, hz = await visit.taken(1, event["at"] - 0.3)
            stretches = [(from_s + start, from_s + end) for start, end in loud(pcm, hz)]
            playing = [end for start, end in stretches if start < event["at"]]
            silences_ms.append((playing[-1] - event["at"]) * 1000 if playing else 0.0)
        assert median(silences_ms) <= 60, silences_ms
        struck = await visit.page.locator(".line.assistant del").count()
        assert struck == 10
        truncated = await visit.events("conversation.item.truncate", "out")
        assert all(100 < each["event"]["audio_end_ms"] < 1500 for each in truncated), truncated
        # What the page strikes is what the server has forgotten.
        await visit.page.press("body", "Escape")


async def test_esc_interrupts_and_interruptions_by_voice_can_be_switched_off() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        await visit.page.click("#settings-open")
        await visit.page.locator("#interruptions").uncheck()
        await visit.page.keyboard.press("Escape")
        await visit.say(speech(0.5, 42))
        await visit.phase("speakingThrough")
        await visit.say(speech(0.5, 50))
        await visit.phase("speakingThrough")
        assert await visit.page.locator("del").count() == 0
        await visit.page.keyboard.press("Escape")
        await visit.until("document.querySelectorAll('del').length === 1")
        await visit.phase("thinking", "speakingThrough", within_s=3)  # what was said meanwhile gets its answer
        await visit.until("document.querySelectorAll('.line.assistant').length === 2")


async def test_mute_neither_stops_the_reply_nor_loses_half_a_sentence() -> None:
    async with serving(talkative) as server, visiting(server.url) as visit:
        await begin(visit)
        talking = asyncio.create_task(visit.say(speech(1.5, 42)))
        await visit.phase("hearing")
        await asyncio.sleep(0.4)
        await visit.page.keyboard.press("m")
        assert await visit.page.locator("#mute").get_attribute("aria-pressed") == "true"
        await talking
        await visit.phase("speaking")
        assert levels(await visit.lines("user")) == [42]
        await visit.say(speech(0.5, 60))
        assert await visit.page.evaluate("document.body.dataset.phase") == "speaking"
        assert await visit.page.locator("del").count() == 0
        await visit.page.keyboard.press("m")
        await visit.say(speech(0.5, 61))
        await visit.until("document.querySelectorAll('del').length === 1")


async def test_push_to_talk_hears_only_while_the_button_or_the_key_is_held() -> None:
    async with serving() as server, visiting(server.url) as visit:
        await visit.page.click("#settings-open")
        await visit.page.locator("#pushToTalk").check()
        await visit.page.keyboard.press("Escape")
        await visit.page.click("#start")
        await visit.phase("held")
        await visit.say(speech(0.5, 33))
        await asyncio.sleep(0.3)
        assert await visit.lines("user") == []
        for count, level in ((1, 42), (2, 60)):
            button = visit.page.locator("#start")
            if count == 1:
                await button.hover()
                await visit.page.mouse.down()
            else:
                await visit.page.keyboard.down("Space")
            await visit.phase("hearing")
            await visit.say(speech(0.6, level))
            if count == 1:
                await visit.page.mouse.up()
            else:
                await visit.page.keyboard.up("Space")
            await visit.heard(count)
        assert levels(await visit.lines("user")) == [42, 60]
        await visit.page.keyboard.press("Space")
        await visit.until("!document.querySelector('#notice').hidden")
        assert "too short" in await visit.page.locator("#notice").inner_text()


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
            await visit.until("document.querySelector('#hint').textContent.includes('Trying again in')")
            assert await visit.page.locator("#text").input_value() == "half a thought"
            await visit.page.press("#text", "Enter")  # said while nobody listens: it is sent later
            with scripted_process(tmp_path, server.port):
                answers = "document.querySelectorAll('.line.assistant:not([hidden])').length"
                await visit.until(f"{answers} === 2", 20)
                await visit.phase("listening")
                assert await visit.lines("user") == ["word42", "half a thought"]
                told = [each["event"]["item"] for each in await visit.events("conversation.item.create", "out")]
                assert [(item["role"], item["content"][0]["text"]) for item in told] == [
                    ("user", "word42"),
                    ("assistant", "You said word42. That is all."),
                    ("user", "half a thought"),
                ]
                await visit.say(speech(0.6, 60))
                await visit.until(f"{answers} === 3")
                await visit.phase("listening")
                said, answer = (await visit.lines("user"))[2], (await visit.lines("assistant"))[2]
                assert levels([said]) == [60]
                assert answer == f"You said {said}. That is all."


async def test_a_missing_and_a_wrong_key_are_asked_for_and_the_right_one_is_kept_out_of_the_address() -> None:
    async with serving(key="the-key") as server, visiting(server.url) as visit:
        page = visit.page
        await page.click("#connect")
        await visit.phase("error")
        assert "wants a key" in await page.locator("#phase").inner_text()
        await page.fill("#key", "another")
        await page.press("#key", "Enter")
        await visit.until("document.querySelector('#phase').textContent.includes('not the right one')")
        await page.fill("#key", "not a token,")
        await page.press("#key", "Enter")
        await visit.until("document.querySelector('#phase').textContent.includes('no such characters')")
        await page.goto(f"{server.url}/#key=the-key")
        await page.reload()  # a fragment alone does not load the page anew
        assert await page.evaluate("location.href") == f"{server.url}/"
        await page.click("#connect")
        await visit.phase("ready")
        assert "the-key" not in await page.content()
        assert await page.evaluate("JSON.stringify(localStorage)") == "{}"


async def test_every_way_to_have_no_microphone_says_what_helps_and_writing_works() -> None:
    ways = {
        "NotAllowedError": "not allowed",
        "NotFoundError": "No microphone",
        "NotReadableError": "cannot be opened",
    }
    async with serving() as server, visiting(server.url) as visit:
        for name, words in ways.items():
            await visit.page.evaluate(f"room.denied = '{name}'")
            await visit.page.click("#start" if name == "NotAllowedError" else "#retry")
            await visit.until(f"document.querySelector('#phase').textContent.includes('{words}')")
            assert len(await visit.page.locator("#trouble-cure").inner_text()) > 40
        await visit.page.fill("#text", "Can you hear me?")
        await visit.page.click("#send")
        await visit.until("document.querySelector('.line.assistant .words')?.textContent.includes('That is all')")
        await visit.page.evaluate("room.denied = ''")
        await visit.page.click("#retry")
        await visit.phase("listening")
        await visit.page.evaluate("room.track.dispatchEvent(new Event('ended'))")
        await visit.until("document.querySelector('#phase').textContent.includes('is gone')")


async def test_a_browser_that_gives_no_sound_is_told_and_asked_again() -> None:
    broken = """
        const { addModule } = AudioWorklet.prototype;
        AudioWorklet.prototype.addModule = function (...named) {
            return room.mended ? addModule.apply(this, named) : Promise.reject(new DOMException('no', 'AbortError'));
        };"""
    async with serving() as server, visiting(server.url, before=broken) as visit:
        await visit.page.click("#start")
        await visit.until("document.querySelector('#phase').textContent.includes('no sound')")
        await visit.page.fill("#text", "Then I write.")
        await visit.page.press("#text", "Enter")
        await visit.until("document.querySelector('.line.assistant .words')?.textContent.includes('That is all')")
        await visit.page.evaluate("room.mended = true")
        await visit.page.click("#retry")
        await visit.phase("listening")


async def test_over_plain_http_the_page_says_why_there_is_no_microphone() -> None:
    gone = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});"
    gone += "Object.defineProperty(window, 'isSecureContext', {value: false});"
    async with serving() as server, visiting(server.url, before=gone) as visit:
        await visit.page.click("#start")
        await visit.until("document.querySelector('#trouble-cure').textContent.includes('https')")
        await visit.page.fill("#text", "Hello")
        await visit.page.click("#send")
        await visit.until("document.querySelector('.line.assistant .words')?.textContent.includes('That is all')")


async def test_a_full_server_is_tried_again() -> None:
    async with serving(overrides={"limits.sessions": 1}) as server, visiting(server.url) as visit:
        async with connect(server.socket_url) as first:
            await first.recv()
            await visit.page.click("#connect")
            await visit.phase("reconnecting")
            assert await visit.page.locator("#phase").inner_text() == "All places are taken"
            assert "Trying again in" in await visit.page.locator("#hint").inner_text()
        await server.empty()
        await visit.page.click("#retry")
        await visit.phase("ready")


async def test_loading_shows_how_far_it_is_and_connects_by_itself() -> None:
    async with serving(state="loading") as server, visiting(server.url) as visit:
        await visit.page.click("#connect")
        await visit.phase("loading")
        await visit.until("!document.querySelector('#progress').hidden")
        assert "scripted" in await visit.page.locator("#hint").inner_text()
        server.manager.become("ready")
        await visit.phase("ready")


async def test_failed_models_are_told_in_the_servers_words() -> None:
    async with serving(state="failed") as server, visiting(server.url) as visit:
        await visit.page.click("#connect")
        await visit.phase("error")
        assert "could not be loaded" in await visit.page.locator("#phase").inner_text()
        assert "as scripted" in await visit.page.locator("#trouble-detail").inner_text()


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
        await visit.until("room.page?.currentTime > 0")
        (spoken,) = await _spoken(server)
        assert spoken == "Hello, this is how I sound."
        session = (await visit.events("session.updated"))[-1]["event"]["session"]
        assert session["audio"]["output"]["voice"] == "bf_emma"
        assert session["audio"]["input"]["turn_detection"]["eagerness"] == "high"
        assert session["audio"]["input"]["noise_reduction"] == {"type": "near_field"}
        assert "teacher" in session["instructions"]
        await page.reload()
        assert await page.locator("#voice").evaluate("(e) => e.value") in ("", "bf_emma")
        kept = json.loads(await page.evaluate("localStorage['voxtral-voice.settings']"))
        assert (kept["voice"], kept["pace"], kept["headphones"]) == ("bf_emma", "high", True)


async def _spoken(server: Served) -> list[str]:
    async with asyncio.timeout(5):
        while not server.script.synthesizer.spoken:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return server.script.synthesizer.spoken


async def test_the_conversation_can_be_saved_as_text_and_json() -> None:
    async with serving() as server, visiting(server.url) as visit:
        await begin(visit)
        await visit.say(speech(0.6, 42))
        await visit.heard(1)
        await visit.page.click("#settings-open")
        async with visit.page.expect_download() as text:
            await visit.page.click("#export-text")
        content = (await (await text.value).path()).read_text()
        assert content == "You: word42\n\nVoxtral: You said word42. That is all.\n"
        async with visit.page.expect_download() as saved:
            await visit.page.click("#export-json")
        items = json.loads((await (await saved.value).path()).read_text())["items"]
        assert [item["text"].strip() for item in items] == ["word42", "You said word42. That is all."]
        assert 100 < items[1]["latency"]["voice_to_voice_heard_ms"] < 3000


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
