"""Shared set-up: tests import their helpers (`scripted`, `conversation`, …) from this folder."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from httpx._transports import default as transports

sys.path.insert(0, str(Path(__file__).parent))

# Each client reads the system's certificates, 50 ms of a core, and the tests make hundreds: one reading serves all.
transports.create_ssl_context = functools.cache(transports.create_ssl_context)  # type: ignore[attr-defined]

# A busy machine may need longer than the 5 s that httpx waits; whatever never comes still fails.
for kind in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, kind, 60.0)

pytest_plugins = ["model_fixtures", "whole_program", "voxtral_fixtures", "worker_process"]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop on which uvicorn runs the server: it differs from asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}
