"""Every state of the page, brought about for real: for looking at and for axe. `python tests/page_states.py FOLDER`

writes a picture of each state at 1280 and 390 pixels, light and dark.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect

from browser import Visit, visiting
from realtime_client import speech
from realtime_server import Served, quick, serving
from scripted import Script
from voxtral_voice.models.manager import ModelState

STATES = ["idle", "connecting", "loading", "ready", "listening", "hearing", "thinking", "speaking", "interrupted"]
_READ = "(document.querySelector('.line.assistant .words')?.textContent.length ?? 0)"
STATES += ["reconnecting", "denied", "key", "full", "failed", "drawer", "waterfall", "log", "muted", "held"]


TOLD = (
    "The Brooklyn Bridge was opened in 1883, after fourteen years of building. It was the longest bridge in the "
    "world then, and a week later twenty-one elephants walked over it to show that it was safe."
)


def _talkative(parts: Script) -> None:
    """At the pace of a voice: 12 s, in which everything that is to be looked at can happen."""
    quick(parts)
    parts.understander.token_s = 0.01
    parts.synthesizer.word_s = 0.35
    parts.understander.answer = lambda said: TOLD


def _brisk(parts: Script) -> None:
    _talkative(parts)
    parts.synthesizer.word_s = 0.06


def _thoughtful(parts: Script) -> None:
    _talkative(parts)
    parts.synthesizer.clause_s = 600


_PARTS = {"thinking": _thoughtful, "waterfall": _brisk, "log": _brisk}


@asynccontextmanager
async def state(
    name: str, *, width: int = 1280, height: int = 800, dark: bool = False, before: str = ""
) -> AsyncIterator[Visit]:
    """The page, in that state."""
    key = "the-key" if name == "key" else None
    server_state = {"loading": "loading", "failed": "failed"}.get(name, "ready")
    overrides: dict[str, object] = {"limits.sessions": 1} if name == "full" else {}
    async with (
        serving(_PARTS.get(name, _talkative), state=server_state, key=key, overrides=overrides) as server,  # type: ignore[arg-type]
        visiting(server.url, width=width, height=height, dark=dark, before=before) as visit,
    ):
        await _reach(name, visit, server)
        yield visit


async def _reach(name: str, visit: Visit, server: Served) -> None:
    page = visit.page
    if name == "idle":
        return
    if name == "connecting":
        await page.route_web_socket("**/v1/realtime*", lambda _: None)
    if name == "full":
        async with connect(server.socket_url) as first:
            await first.recv()
            await page.click("#connect")
            await visit.phase("reconnecting")
        return
    if name in ("connecting", "loading", "failed", "key", "ready", "drawer", "reconnecting"):
        await page.click("#connect")
        wanted = {"failed": "error", "key": "error", "drawer": "ready", "reconnecting": "ready"}.get(name, name)
        await visit.phase(wanted)
        if name == "loading":
            server.manager.states = {
                "whisper_english": ModelState("ready", 1.0, "ready"),
                "kokoro_onnx": ModelState("loading", 0.45, "fetching 38 of 86 MB"),
            }
            await visit.shows("#hint", "fetching")
        if name == "drawer":
            await page.click("#settings-open")
            await visit.until("document.querySelectorAll('#voice option').length === 55")
            await page.select_option("#persona", "custom")
        if name == "reconnecting":
            await page.fill("#text", "How old is the Brooklyn Bridge?")
            await page.click("#send")
            await visit.until(f"{_READ} > 30")
            server.manager.become("failed")  # nobody is let in again
            await page.evaluate("room.socket.close(4000)")
            await visit.phase("reconnecting")
        return
    if name == "denied":
        await page.evaluate("room.denied = 'NotAllowedError'")
        await page.click("#start")
        await visit.phase("error")
        return
    await _talk(name, visit)


async def _talk(name: str, visit: Visit) -> None:
    page = visit.page
    if name == "held":
        await page.click("#settings-open")
        await page.locator("#pushToTalk").check()
        await page.keyboard.press("Escape")
        await visit.until("!document.querySelector('dialog').open")
    await page.click("#start")
    await visit.phase("held" if name == "held" else "listening")
    if name == "muted":
        await page.click("#mute")
        await visit.phase("muted")
    if name in ("listening", "muted", "held"):
        return
    if name == "hearing":
        talking = asyncio.create_task(visit.say(speech(3, 42)))
        await visit.phase("hearing")
        await visit.until("document.querySelector('.line.user .words')?.textContent.startsWith('word')")
        talking.cancel()
        return
    await visit.say(speech(0.6, 42))
    if name == "thinking":
        await visit.phase("thinking")
        return
    if name in ("speaking", "interrupted"):
        await visit.phase("speaking")
        await visit.until(f"{_READ} > 30")
    if name == "interrupted":
        await visit.say(speech(0.5, 60))
        await visit.has("del", 1)
    if name in ("waterfall", "log"):
        await visit.heard(1)
        await page.locator("summary").first.click()
    if name == "log":
        await page.click("#settings-open")
        await page.locator("#log").check()
        await page.keyboard.press("Escape")
        await visit.until("!document.querySelector('dialog').open")


async def faded(visit: Visit) -> None:
    """Until colours and sizes are what they are to be."""
    await visit.drawn()
    await visit.until(
        "!document.getAnimations().some((each) => each instanceof CSSTransition && each.playState === 'running')"
    )


async def pictures(folder: Path, names: list[str]) -> None:
    """All of them, one browser at a time."""
    for name in names:
        for width, height in ((1280, 800), (390, 844)):
            async with state(name, width=width, height=height) as visit:
                for scheme in ("light", "dark"):
                    await visit.page.emulate_media(color_scheme=scheme)
                    await faded(visit)
                    await visit.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")


if __name__ == "__main__":
    asyncio.run(pictures(Path(sys.argv[1]), sys.argv[2:] or STATES))
