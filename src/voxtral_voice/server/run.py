"""uvicorn, set up for long conversations behind a proxy."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from voxtral_voice.config import Config, ConfigError
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.app import create_app
from voxtral_voice.server.connection import protocol
from voxtral_voice.server.door import LOOPBACK

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's, with an earlier farewell: its own would close every WebSocket as 1012 before the application knew."""

    def __init__(self, app: FastAPI, config: Config) -> None:
        server = config.server
        settings = _settings(
            app,
            config,
            port=server.port,
            ws="websockets-sansio",
            ws_max_size=server.message_bytes,
            ws_per_message_deflate=False,  # costs up to 135 us a frame and only undoes the base64
            ws_ping_interval=server.ping_interval_s,
            ws_ping_timeout=server.ping_timeout_s,
        )
        super().__init__(settings)
        self._app = app
        self.second: uvicorn.Server | None = None
        """Of the health port."""
        if server.health_port not in (None, server.port):
            quiet = _settings(app.state.health, config, port=server.health_port, ws="none", lifespan="off")
            self.second = uvicorn.Server(quiet)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where to go once the ports are ours."""
        if self.second is not None:  # first: where its port is taken, no model has begun to load
            self.second.config.load()
            self.second.lifespan = self.second.config.lifespan_class(self.second.config)
            await self.second.startup()
        await super().startup(sockets)
        if self.started:
            shown = "127.0.0.1" if self.config.host in ("0.0.0.0", "::") else self.config.host
            log.info("Voxtral Voice is at http://%s:%d (models load; /ready says when)", shown, self.config.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A signal has come: tell everybody why, then close."""
        for bodies in self._app.state.bodies:
            bodies.stop()
        await self._app.state.door.drain()
        await super().shutdown(sockets)
        if self.second is not None:
            await self.second.shutdown()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM asks for an end in good order, which is then a success: raised again it would make the code 143."""
        with super().capture_signals():
            yield
            self._captured_signals = [number for number in self._captured_signals if number != signal.SIGTERM]


def _settings(app: FastAPI, config: Config, **more: Any) -> uvicorn.Config:
    server = config.server
    return uvicorn.Config(
        app,
        host=server.host,
        http=protocol(server.head_timeout_s),
        proxy_headers=True,
        forwarded_allow_ips=server.trusted_proxies,
        timeout_graceful_shutdown=round(server.shutdown_s),
        log_config=None,
        access_log=False,  # it would log addresses with their query
        **more,
    )


def serve(config: Config) -> int:
    """Serve until a signal ends it. Returns the exit code. Raises ConfigError for a key that no header can carry."""
    key = os.environ.get("VOXTRAL_API_KEY") or None
    _check(key)
    if key is None and config.server.host in LOOPBACK:
        log.info("no key: whoever uses this machine can talk (VOXTRAL_API_KEY sets a key)")
    elif key is None:
        log.warning(
            "anybody who reaches this machine can use it: VOXTRAL_API_KEY sets a key, --host 127.0.0.1 closes it"
        )
    runner = Server(create_app(config, ModelManager(config), key), config)
    runner.run()
    return 0 if runner.started else 1


def _check(key: str | None) -> None:
    # What a subprotocol may consist of (RFC 9110, "token"): a browser has no other way to show the key on a socket.
    if key is not None and not (key.isascii() and all(each.isalnum() or each in "!#$%&'*+-.^_`|~" for each in key)):
        raise ConfigError("VOXTRAL_API_KEY: a key consists of ASCII letters, digits and !#$%&'*+-.^_`|~")
