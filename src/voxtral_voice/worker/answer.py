"""One job in, its items out: the generator that RunPod's SDK and the command line iterate.

The work is a task of its own. When RunPod stops a job while its item is being posted, the SDK leaves the generator
suspended at that `yield`, and what stands in its `finally` runs seconds later. Its task, however, ends at once, and
with it the work: the engines' cancel flags are set a few turns of the event loop later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from voxtral_voice import logs
from voxtral_voice.config import Config
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.types import VoiceError
from voxtral_voice.worker.items import Item, Outlet
from voxtral_voice.worker.work import Work

log = logging.getLogger(__name__)

# Their messages are for whoever runs the worker: they may name files of this machine.
_PRIVATE = frozenset({"model_failed", "internal_error"})


async def answer(given: object, manager: ModelManager, config: Config, job_id: str = "") -> AsyncGenerator[Item, None]:
    """Items of a job whose `input` is `given`. The last one is `done` or `error`; nothing is raised."""
    out = Outlet(config.limits.job_output_bytes)
    working = asyncio.create_task(_work(given, manager, config, out, job_id), name=f"job {job_id}")
    asked_by = asyncio.current_task()
    assert asked_by is not None

    def stop(_: object) -> None:
        working.cancel()

    asked_by.add_done_callback(stop)
    try:
        while (item := await out.take()) is not None:
            yield item
    finally:
        asked_by.remove_done_callback(stop)
        working.cancel()


async def _work(given: object, manager: ModelManager, config: Config, out: Outlet, job_id: str) -> None:
    logs.session.set(job_id)  # in this task's context, which the engines inherit
    try:
        await Work(manager, config, out).do(given)
    except Exception as error:
        known = _with_code(error)
        if known is None:
            log.exception("the job failed")
            out.say("error", code="internal_error", message="the job failed inside; the worker's log says why")
        elif known.code in _PRIVATE:
            log.error("%s: %s", known.code, known.message)
            out.say("error", code=known.code, message="a model could not do its part; the worker's log says why")
        else:
            log.info("ends with %s", known.code)
            out.say("error", code=known.code, message=known.message)
    finally:
        out.end()


def _with_code(error: BaseException) -> VoiceError | None:
    """The error that a client can act on: itself, or one of those that ended a group of tasks."""
    if isinstance(error, BaseExceptionGroup):
        return next((known for each in error.exceptions if (known := _with_code(each))), None)
    return error if isinstance(error, VoiceError) else None
