"""The real application on a free loopback port, with the real models of `whole_program`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from realtime_server import ScriptedManager, Served
from voxtral_voice import config
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.server.app import create_app
from voxtral_voice.server.run import Server
from whole_program import Program


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
async def loaded(program: Program) -> AsyncIterator[str]:
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
