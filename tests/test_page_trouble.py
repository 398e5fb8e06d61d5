"""The page in a real browser where something is missing: it says what helps, and the rest of it works."""

from __future__ import annotations

from websockets.asyncio.client import connect

from browser import visiting
from realtime_server import serving


async def test_a_missing_and_a_wrong_key_are_asked_for_and_the_right_one_is_kept_out_of_the_address() -> None:
    async with serving(key="the-key") as server, visiting(server.url) as visit:
        page = visit.page
        await page.click("#connect")
        await visit.shows("#phase", "wants a key")
        for key, answer in (("another", "not the right one"), ("not a token,", "no such characters")):
            await page.fill("#key", key)
            await page.press("#key", "Enter")
            await visit.shows("#phase", answer)
        await page.goto(f"{server.url}/#key=the-key")
        await page.reload()  # a fragment alone does not load the page anew
        await visit.until(f"location.href === '{server.url}/'")
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
            await visit.shows("#phase", words)
            await visit.until("document.querySelector('#trouble-cure').textContent.length > 40")
        await visit.page.fill("#text", "Can you hear me?")
        await visit.page.click("#send")
        await visit.shows(".line.assistant .words", "That is all")
        await visit.page.evaluate("room.denied = ''")
        await visit.page.click("#retry")
        await visit.phase("listening")
        await visit.page.evaluate("room.track.dispatchEvent(new Event('ended'))")
        await visit.shows("#phase", "is gone")


async def test_a_browser_that_gives_no_sound_is_told_and_asked_again() -> None:
    broken = """
        const { addModule } = AudioWorklet.prototype;
        AudioWorklet.prototype.addModule = function (...named) {
            return room.mended ? addModule.apply(this, named) : Promise.reject(new DOMException('no', 'AbortError'));
        };"""
    async with serving() as server, visiting(server.url, before=broken) as visit:
        await visit.page.click("#start")
        await visit.shows("#phase", "no sound")
        await visit.page.fill("#text", "Then I write.")
        await visit.page.press("#text", "Enter")
        await visit.shows(".line.assistant .words", "That is all")
        await visit.page.evaluate("room.mended = true")
        await visit.page.click("#retry")
        await visit.phase("listening")


async def test_over_plain_http_the_page_says_why_there_is_no_microphone() -> None:
    gone = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});"
    gone += "Object.defineProperty(window, 'isSecureContext', {value: false});"
    async with serving() as server, visiting(server.url, before=gone) as visit:
        await visit.page.click("#start")
        await visit.shows("#trouble-cure", "https")
        await visit.page.fill("#text", "Hello")
        await visit.page.click("#send")
        await visit.shows(".line.assistant .words", "That is all")


async def test_a_server_that_is_loading_broken_or_full_says_so_and_is_tried_again() -> None:
    async with (
        serving(state="loading", overrides={"limits.sessions": 1}) as server,
        visiting(server.url) as visit,
    ):
        await visit.page.click("#connect")
        await visit.phase("loading")
        await visit.until("!document.querySelector('#progress').hidden")
        await visit.shows("#hint", "scripted")
        server.manager.become("failed")
        await visit.phase("error")
        await visit.shows("#phase", "could not be loaded")
        await visit.shows("#trouble-detail", "as scripted")
        server.manager.become("loading")
        await visit.page.click("#retry")
        await visit.phase("loading")
        server.manager.become("ready")
        await visit.phase("ready")  # by itself
        await visit.page.click("#connect")
        await visit.phase("idle")
        await server.empty()
        async with connect(server.socket_url) as first:
            await first.recv()
            await visit.page.click("#connect")
            await visit.shows("#phase", "All places are taken")
            await visit.shows("#hint", "Trying again in")
        await server.empty()
        await visit.page.evaluate("document.querySelector('#retry').click()")  # gone where the page was quicker
        await visit.phase("ready")
