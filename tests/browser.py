"""A real browser on the page, in a room with a scripted microphone and an ear at the loudspeaker.

async with serving() as server, visiting(server.url) as visit:
    await visit.page.click("#start")
    await visit.say(speech(0.6, 42))
    await visit.shows("#phase", "Thinking")

What a key or a press brings about is drawn a frame later, on a busy machine many frames: everything is waited for, and
nothing is read once. Needs Chromium and the `playwright` package; tests that ask for it are skipped where either is
missing.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pytest

from voxtral_voice.types import Pcm

if TYPE_CHECKING:
    from playwright.async_api import ConsoleMessage, Page, Request

PATIENCE_S = 60.0
"""For whatever takes a moment; a machine with its cores busy has long moments."""
WEB = Path(__file__).parent / "web"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-dev-shm-usage",
    "--js-flags=--expose-gc",
]
# Said by the browser itself about an answer that a test has asked for.
_EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of 4|WebSocket connection to")


def need_browser() -> None:
    """Skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium, or CHROMIUM=path)")
    pytest.importorskip("playwright", reason="the playwright package is not installed")


Given = ParamSpec("Given")


def in_real_time(test: Callable[Given, Awaitable[None]]) -> Callable[Given, Awaitable[None]]:
    """Sound does not wait: where the machine had no time for it, words are torn and gaps come into them.

    So a test of what is said and heard has three tries. What went wrong with the first ones is logged.
    """

    @wraps(test)
    async def tried(*given: Given.args, **named: Given.kwargs) -> None:
        from playwright.async_api import Error

        for again in (True, True, False):
            try:
                await test(*given, **named)
            except (AssertionError, Error) as error:
                if not again:
                    raise
                logging.getLogger(__name__).warning("once more: %s", error)
            else:
                return

    return tried


@dataclass
class Visit:
    """One page. Everything it must not do is noted, and raised at the end of the visit."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)

    async def say(self, pcm: Pcm, hz: int = 24_000) -> float:
        """Into the microphone, in real time. Returns when the last sample was said, on the room's clock."""
        encoded = base64.b64encode(pcm.astype("<f4").tobytes()).decode()
        end: float = await self.page.evaluate("([b, hz]) => room.say(b, hz)", [encoded, hz])
        return end

    async def taken(self, channel: int, from_s: float = 0) -> tuple[Pcm, float, int]:
        """What was said (0) or heard (1): samples, when they begin, their rate."""
        found = await self.page.evaluate("([c, f]) => room.taken(c, f)", [channel, from_s])
        pcm = np.frombuffer(base64.b64decode(found["base64"]), "<i2").astype(np.float32)
        return pcm / np.float32(32768), found["from_s"], found["hz"]

    async def now_s(self) -> float:
        """The room's clock."""
        now: float = await self.page.evaluate("room.context.currentTime")
        return now

    async def events(self, kind: str, way: str = "in") -> list[dict[str, Any]]:
        """What went over the line: `{way, at, event}`."""
        found: list[dict[str, Any]] = await self.page.evaluate(
            "([k, w]) => room.events.filter((e) => e.way === w && e.event.type === k)", [kind, way]
        )
        return found

    async def until(self, expression: str, within_s: float = PATIENCE_S) -> None:
        """Until that is true in the page."""
        try:
            async with asyncio.timeout(within_s):
                # Asked from outside: a function that waits inside would need eval, which the page forbids.
                while not await self.page.evaluate(expression):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            state = await self.page.evaluate("[document.body.dataset.phase, document.body.innerText]")
            raise AssertionError(
                f"not within {within_s} s: {expression}; the page says {state}, {self.wrong}"
            ) from None

    async def becomes(self, look: Callable[[], Awaitable[object]], wanted: object) -> None:
        """Until `look` sees just that."""
        seen: object = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (seen := await look()) != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S} s: {wanted!r}; it is {seen!r}, {self.wrong}") from None

    async def shows(self, selector: str, text: str) -> None:
        """Until that is to be read there, among other words perhaps."""
        from playwright.async_api import expect

        await expect(self.page.locator(selector)).to_contain_text(text, timeout=PATIENCE_S * 1000)

    async def has(self, selector: str, count: int) -> None:
        """Until so many of these are on the page, seen or not."""
        await self.becomes(self.page.locator(selector).count, count)

    async def pressed(self, selector: str, state: bool) -> None:
        """Until a button that stays down is, or is not."""
        from playwright.async_api import expect

        button = self.page.locator(selector)
        await expect(button).to_have_attribute("aria-pressed", str(state).lower(), timeout=PATIENCE_S * 1000)

    async def phase(self, *names: str) -> None:
        """Until the page is in one of these states."""
        wanted = ", ".join(f"'{name}'" for name in names)
        await self.until(f"[{wanted}].includes(document.body.dataset.phase)")

    async def came(self, kind: str, count: int, way: str = "in") -> None:
        """Until so many events of a kind have gone over the line."""
        await self.until(f"room.events.filter((e) => e.way === '{way}' && e.event.type === '{kind}').length >= {count}")

    async def heard(self, count: int) -> None:
        """Until so many replies have been played to their end."""
        await self.came("response.done", count)
        await self.drawn()
        await self.until("!['thinking', 'speaking', 'speakingThrough'].includes(document.body.dataset.phase)")

    async def drawn(self) -> None:
        """Until the page shows all that it knows."""
        await self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def sent(self, frames: int) -> None:
        """Until so many more of the microphone's frames (20 ms) have gone to the server."""
        before = await self.page.evaluate("room.appended")
        await self.until(f"room.appended >= {before + frames}")

    async def lines(self, who: str) -> list[str]:
        """What the user (`user`) or the reply (`assistant`) is shown to have said."""
        return [text.strip() for text in await self.page.locator(f".line.{who} .words").all_inner_texts()]

    async def check(self) -> None:
        violations = await self.page.evaluate("room.violations")
        assert self.wrong + violations == []
        assert all(await self.page.evaluate("room.activated")), "an AudioContext was made without a press"


@asynccontextmanager
async def visiting(
    url: str, *, width: int = 1280, height: int = 800, dark: bool = False, before: str = "", still: bool = False
) -> AsyncIterator[Visit]:
    """`before`: a script that runs before the page's own, after the room's. `still`: reduced motion."""
    need_browser()
    from playwright.async_api import async_playwright

    origin = "/".join(url.split("/")[:3])
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            device_scale_factor=2 if width < 500 else 1,
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        visit = Visit(page, origin)
        await page.add_init_script((WEB / "room.js").read_text(encoding="utf-8") + before)

        def said(message: ConsoleMessage) -> None:
            if message.type == "error" and not _EXPECTED.search(message.text):
                visit.wrong.append(message.text)

        def failed(error: object) -> None:
            visit.wrong.append(f"error: {error}")

        def asked(request: Request) -> None:
            if not request.url.startswith((origin, "blob:" + origin, origin.replace("http", "ws"))):
                visit.wrong.append(f"a request left the origin: {request.url}")

        page.on("request", asked)
        page.on("pageerror", failed)
        page.on("console", said)
        await page.goto(url)
        try:
            yield visit
            await visit.check()
        finally:
            await browser.close()
