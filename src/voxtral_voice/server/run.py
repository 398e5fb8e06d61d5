"""uvicorn, set up for long conversations behind a proxy."""

from __future__ import annotations

import logging
import os
import socket

import uvicorn
from fastapi import FastAPI

from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.app import create_app

log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Server(uvicorn.Server):
    """uvicorn's, with an earlier farewell: its own would close every WebSocket as 1012 before the application knew."""

    def __init__(self, app: FastAPI, config: Config) -> None:
        server = config.server
        settings = uvicorn.Config(
            app,
            host=server.host,
            port=server.port,
            ws="websockets-sansio",
            ws_max_size=server.message_bytes,
            ws_per_message_deflate=False,  # costs up to 135 us a frame and only undoes the base64
            ws_ping_interval=server.ping_interval_s,
            ws_ping_timeout=server.ping_timeout_s,
            timeout_graceful_shutdown=round(server.shutdown_s),
            log_config=None,
            access_log=False,  # it would log addresses with their query
        )
        super().__init__(settings)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where to go once the port is ours."""
        await super().startup(sockets)
        if self.started:
            shown = "127.0.0.1" if self.config.host in ("0.0.0.0", "::") else self.config.host
            log.info("Voxtral Voice is at http://%s:%d (models load; /ready says when)", shown, self.config.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A signal has come: tell everybody why, then close."""
        await self._app.state.door.drain()
        await super().shutdown(sockets)


def serve(config: Config) -> int:
    """Serve until a signal ends it. Returns the exit code."""
    server = config.server
    key = os.environ.get("VOXTRAL_API_KEY") or None
    if key is None and server.host not in _LOOPBACK:
        log.warning(
            "anybody who reaches this machine can use it: VOXTRAL_API_KEY sets a key, --host 127.0.0.1 closes it"
        )
    runner = Server(create_app(config, ModelManager(config), key), config)
    runner.run()
    return 0 if runner.started else 1
