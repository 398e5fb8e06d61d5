"""One set of models per process: which ones, loaded once, warmed up by a real turn, and how far that has come."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voxtral_voice.config import Config
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.models import cpu_profile
from voxtral_voice.models.store import Store, from_config
from voxtral_voice.models.warm_up import warm_up
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)

_LAST_STEP_S = 5.0


@dataclass(frozen=True, slots=True)
class ModelState:
    state: Literal["loading", "ready", "failed"] = "loading"
    progress: float = 0.0
    """0 to 1."""
    detail: str = "waiting"


class ModelManager:
    """Owned by the process; `load` runs on its event loop, everything that blocks on threads."""

    def __init__(self, config: Config, store: Store | None = None) -> None:
        self._config = config
        self._store = store or from_config(config)
        self.profile = choose_profile(config)
        self.states: dict[str, ModelState] = {name: ModelState() for name in cpu_profile.needed(config)}
        self._engines: Engines | None = None
        self._workers: list[Worker] = []
        self._failure: VoiceError | None = None

    @property
    def ready(self) -> bool:
        return self._engines is not None

    @property
    def engines(self) -> Engines:
        """Raises VoiceError("model_loading" or "model_failed") while there are none."""
        if refusal := self.refusal():
            raise refusal
        assert self._engines is not None
        return self._engines

    def refusal(self) -> VoiceError | None:
        """Why nobody can be served, if so."""
        if self._failure is not None:
            return VoiceError("model_failed", self._failure.message)
        if self._engines is None:
            waiting = ", ".join(f"{name}: {s.detail}" for name, s in self.states.items() if s.state != "ready")
            return VoiceError("model_loading", f"models are being loaded ({waiting})")
        return None

    async def load(self) -> None:
        """Fetch, load and warm up. Raises VoiceError("model_failed"); the states say which and why."""
        started = time.monotonic()
        try:
            folders = {name: await self._fetch(name) for name in self.states}
            workers = cpu_profile.Workers.start(self._config)
            self._workers = list(workers.distinct)
            for name in self.states:
                self.states[name] = ModelState("loading", 1.0, "loading")
            engines = await cpu_profile.build(folders, self._config, workers)
            await warm_up(engines, self._config)
        except VoiceError as error:
            self._fail(error)
            raise
        except Exception as error:  # libraries raise errors of their own for a damaged model
            log.exception("loading failed")
            failure = VoiceError("model_failed", f"a model could not be loaded: {error}")
            self._fail(failure)
            raise failure from error
        self._engines = engines
        for name in self.states:
            self.states[name] = ModelState("ready", 1.0, "")
        log.info("%s profile ready in %.1f s", self.profile, time.monotonic() - started)

    def close(self) -> None:
        """Stop the threads and child processes."""
        if self._engines is not None:
            cpu_profile.close(self._engines)
        self._engines = None
        for worker in self._workers:
            worker.close()
        for worker in self._workers:  # a thread inside a library while the interpreter goes away aborts the process
            worker.join(_LAST_STEP_S)

    async def _fetch(self, name: str) -> Path:
        loop = asyncio.get_running_loop()

        def note(done: int, total: int) -> None:
            share = done / total if total else 0.0
            self.states[name] = ModelState(
                "loading", round(share, 3), f"fetching {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            )

        def report(_name: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(note, done, total)

        self.states[name] = replace(self.states[name], detail="looking for it")
        try:
            return await asyncio.to_thread(self._store.fetch, name, report)
        except VoiceError as error:
            self.states[name] = ModelState("failed", 0.0, error.message)
            raise

    def _fail(self, error: VoiceError) -> None:
        self._failure = error
        for name, state in self.states.items():
            if state.state == "loading":
                self.states[name] = ModelState("failed", state.progress, error.message)


def choose_profile(config: Config) -> str:
    """The profile for this machine. Raises VoiceError where the one asked for cannot run."""
    if config.engines.profile == "gpu":
        raise VoiceError("model_failed", "engines.profile gpu: this version has no GPU engines; use cpu or auto")
    return "cpu"
