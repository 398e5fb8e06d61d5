"""uvicorn, set up for long conversations behind a proxy."""

from __future__ import annotations

import logging

import uvicorn

from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.server.app import create_app

log = logging.getLogger(__name__)


def serve(config: Config) -> int:
    """Serve until a signal ends it. Returns the exit code."""
    server = config.server
    app = create_app(config, ModelManager(config))
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
    shown = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host
    log.info("Voxtral Voice is at http://%s:%d (models load in the background; /ready says when)", shown, server.port)
    runner = uvicorn.Server(settings)
    runner.run()
    return 0 if runner.started else 1
