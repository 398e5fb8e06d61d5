"""The real application on a free loopback port, with scripted engines in place of models.

async with serving() as server:
    ...  # http://127.0.0.1:{server.port}
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from scripted import Script, script
from voxtral_voice import config
from voxtral_voice.config import Config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.models.manager import ModelManager, ModelState
from voxtral_voice.server.app import create_app
from voxtral_voice.server.run import Server
from voxtral_voice.types import VoiceError

State = Literal["loading", "ready", "failed"]


class ScriptedManager(ModelManager):
    """A ModelManager whose models are scripts: ready at once, never, or broken, as the test wants."""

    def __init__(self, parts: Script, state: State) -> None:  # not the parent's: it would look for models
        self.profile = "scripted"
        self.parts = parts
        self.closed = False
        self.become(state)

    def become(self, state: State) -> None:
        self._state: State = state
        self.states = {"scripted": ModelState(state, float(state == "ready"), "as scripted")}

    @property
    def ready(self) -> bool:
        return self._state == "ready"

    @property
    def engines(self) -> Engines:
        if refusal := self.refusal():
            raise refusal
        return self.parts.engines

    def refusal(self) -> VoiceError | None:
        if self._state == "ready":
            return None
        return VoiceError("model_loading" if self._state == "loading" else "model_failed", "as scripted")

    async def load(self) -> None:
        if self._state == "failed":
            raise VoiceError("model_failed", "as scripted")

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Served:
    """A server that runs in the test's own event loop."""

    runner: Server
    manager: ScriptedManager
    config: Config

    @property
    def script(self) -> Script:
        return self.manager.parts

    @property
    def port(self) -> int:
        port: int = self.runner.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.get(path)

    async def active(self) -> int:
        """Conversations open, as /status says."""
        status: dict[str, Any] = (await self.get("/status")).json()
        active: int = status["sessions"]["active"]
        return active

    async def empty(self, within_s: float = 60.0) -> None:
        """Until every place is free again."""
        async with asyncio.timeout(within_s):
            while await self.active():  # noqa: ASYNC110 (the server is asked as a stranger would)
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], object], what: str = "it", within_s: float = 60.0) -> None:
    """Until `condition` holds; for what another thread or task does in its own time."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 (there is no event for it)
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} has not come within {within_s:g} s") from None


def quick(parts: Script) -> None:
    """Small real sleeps, so that a turn takes a second and not five."""
    parts.understander.hear_s, parts.understander.token_s = 0.02, 0.002
    parts.understander.answer = lambda said: f"You said {said}. That is all."
    parts.synthesizer.clause_s, parts.synthesizer.word_s = 0.04, 0.12


@asynccontextmanager
async def serving(
    prepare: Callable[[Script], None] = quick,
    *,
    state: State = "ready",
    overrides: dict[str, object] | None = None,
    key: str | None = None,
) -> AsyncIterator[Served]:
    """Serve until the block ends; fails where the server leaves a task or a busy thread behind."""
    parts = script()
    prepare(parts)
    chosen = {"server.host": "127.0.0.1", "server.port": 0, "server.shutdown_s": 3, **(overrides or {})}
    configuration = config.load(overrides=chosen, environ={})
    manager = ScriptedManager(parts, state)
    before = asyncio.all_tasks()
    runner = Server(create_app(configuration, manager, key), configuration)
    serve = asyncio.create_task(runner.serve(), name="uvicorn")
    while not runner.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    try:
        yield Served(runner, manager, configuration)
    finally:
        runner.should_exit = True
        try:
            await asyncio.wait_for(serve, 60)
        except TimeoutError:
            raise AssertionError("the server does not end") from None
        for worker in parts.workers:
            worker.close()
            worker.join(5)
    async with asyncio.timeout(30):  # transports close one turn of the loop later
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left, timeout=0.1)
    assert manager.closed
    assert parts.understander.running == 0
