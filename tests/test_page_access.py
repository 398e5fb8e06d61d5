"""The page for those who do not see it, or have no mouse.

axe-core is looked for at AXE (a path to axe.min.js); `npm install axe-core` brings it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from browser import in_real_time, visiting
from page_states import STATES, faded, state
from realtime_client import speech
from realtime_server import serving
from test_page import levels

FOCUSED = "(document.activeElement.id || document.activeElement.value || document.activeElement.tagName)"


def _axe() -> str:
    named = os.environ.get("AXE")
    if named is None:
        pytest.skip("AXE does not name a copy of axe.min.js")
    return Path(named).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STATES)
async def test_axe_finds_nothing(name: str) -> None:
    async with state(name, before=_axe()) as visit:
        for dark, width in ((False, 1280), (True, 390)):
            await visit.page.emulate_media(color_scheme="dark" if dark else "light")
            await visit.page.set_viewport_size({"width": width, "height": 800})
            await faded(visit)
            found = await visit.page.evaluate("axe.run()")
            wrong = [
                (each["id"], each["help"], [node["target"] for node in each["nodes"]]) for each in found["violations"]
            ]
            assert wrong == [], (dark, width)


@in_real_time
async def test_a_conversation_by_keyboard_alone() -> None:
    async with serving() as server, visiting(server.url) as visit:
        keys = visit.page.keyboard
        await keys.press("Space")
        await visit.phase("listening")
        await visit.say(speech(0.6, 42))
        await visit.heard(1)
        assert levels(await visit.lines("user")) == [42]
        await keys.press("m")
        await visit.phase("muted")
        await keys.press("m")
        await visit.phase("listening")
        await keys.press("/")
        await keys.type("mm / m")  # none of them means anything while somebody types
        await visit.becomes(visit.page.locator("#text").input_value, "mm / m")
        await visit.pressed("#mute", False)
        await keys.press("Enter")
        await visit.heard(2)
        assert (await visit.lines("user"))[1] == "mm / m"


@in_real_time
async def test_every_control_is_reached_with_tab_and_no_key_is_a_trap() -> None:
    async with serving() as server, visiting(server.url) as visit:
        page, keys = visit.page, visit.page.keyboard
        await page.click("#start")
        await visit.phase("listening")
        await visit.say(speech(0.6, 42))
        await visit.heard(1)
        await visit.has("summary", 1)
        await page.evaluate("document.activeElement.blur()")
        seen: list[str] = []
        for _ in range(12):
            await keys.press("Tab")
            seen.append(await page.evaluate(FOCUSED))
            ring = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none" or seen[-1] == "BODY", f"{seen[-1]} does not show that it has the focus"
        assert {"connect", "settings-open", "mute", "start", "SUMMARY", "text", "send"} <= set(seen)
        await page.focus("#settings-open")
        await keys.press("Enter")
        await visit.until("document.querySelector('dialog').open")
        inside: list[str] = []
        for _ in range(24):
            await keys.press("Tab")
            inside.append(await page.evaluate(FOCUSED))
        wanted = {"voice", "sample", "speed", "language", "medium", "pushToTalk", "interruptions", "microphone"}
        assert wanted | {"headphones", "persona", "export-text", "export-json", "clear", "log"} <= set(inside)
        await page.focus("#headphones")
        await keys.press("Space")
        await visit.becomes(page.locator("#headphones").is_checked, True)
        await keys.press("Escape")
        await visit.until("!document.querySelector('dialog').open")
        await visit.until(f"{FOCUSED} === 'settings-open'")


@pytest.mark.parametrize("name", ["speaking", "drawer", "key"])
async def test_nothing_is_cut_off_and_everything_is_big_enough_for_a_finger(name: str) -> None:
    async with state(name) as visit:
        for width in (320, 390, 768, 1920):
            await visit.page.set_viewport_size({"width": width, "height": 700})
            await faded(visit)
            assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
            small = await visit.page.evaluate(
                """[...document.querySelectorAll('button, select, summary, .switch, .segments label, [type=text]')]
                .map((e) => [e.id || e.className || e.tagName, e.getBoundingClientRect()])
                .filter(([, box]) => box.width && (box.height < 44 || box.width < 44 || box.right > innerWidth + 1))
                .map(([name, box]) => [name, box.width, box.height, box.right])"""
            )
            assert small == [], width


async def test_nothing_moves_for_those_who_asked_for_that() -> None:
    async with serving() as server, visiting(server.url, still=True) as visit:
        await visit.page.click("#start")
        await visit.phase("listening")
        await visit.drawn()
        assert await visit.page.evaluate("document.getAnimations().length") == 0
