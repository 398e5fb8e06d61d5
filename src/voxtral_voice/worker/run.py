"""RunPod's queue: models first, then one job after the other until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.types import VoiceError
from voxtral_voice.worker.answer import answer
from voxtral_voice.worker.items import Item

log = logging.getLogger(__name__)

_QUEUE = "RUNPOD_WEBHOOK_GET_JOB"
_NOT_A_WORKER = (
    f"{_QUEUE} is not set: this is no worker of a RunPod queue. `voxtral-voice job FILE.json` does one job here, "
    "`handler.py --rp_serve_api` serves jobs over HTTP"
)


def run(config: Config, manager: ModelManager) -> int:
    """Load, then do jobs until SIGTERM or SIGINT; those under way are finished. Returns the exit code.

    Models that cannot be loaded end the process with 1, after RunPod has been told why.
    """
    tests = any(argument.startswith("--test_input") for argument in sys.argv)
    if tests or not (os.environ.get(_QUEUE) or "--rp_serve_api" in sys.argv):
        # The SDK would run a test input by itself: without iterating it, and with exit code 0 whatever happens.
        log.error(_NOT_A_WORKER)
        return 2
    signal.signal(signal.SIGTERM, _leave)
    if not config.logging.content:
        # At DEBUG, its default, the SDK writes every item into the log, with what was said.
        level = os.environ.get("RUNPOD_LOG_LEVEL") or os.environ.get("RUNPOD_DEBUG_LEVEL") or "INFO"
        os.environ["RUNPOD_LOG_LEVEL"] = "INFO" if level.upper() in ("TRACE", "DEBUG") else level
    # Here, because it reads its environment while it is imported, and before the models: it may test the GPU by then.
    import runpod

    try:
        asyncio.run(manager.load())
    except VoiceError as error:
        log.error("%s: %s", error.code, error.message)
        if not os.environ.get(_QUEUE):
            return 1

    def models_are_loaded() -> None:
        if refusal := manager.refusal():
            raise RuntimeError(f"{refusal.code}: {refusal.message}")

    async def handler(job: dict[str, Any]) -> AsyncGenerator[Item, None]:
        async with aclosing(answer(job.get("input"), manager, config, str(job.get("id", "")))) as items:
            async for item in items:
                yield item

    runpod.serverless.register_fitness_check(models_are_loaded)
    try:
        runpod.serverless.start(
            {
                "handler": handler,
                "return_aggregate_stream": True,
                "concurrency_modifier": lambda _: config.limits.jobs,
            }
        )
    finally:
        manager.close()
    return 0


def _leave(*_: object) -> None:
    """A signal before the first job was taken: nothing is under way, and a download would hold up an orderly end."""
    os._exit(0)
