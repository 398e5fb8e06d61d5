"""One set of models per process: which ones, loaded once, warmed up by a real turn, and how far that has come."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voxtral_voice.config import Config
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines
from voxtral_voice.models.build import Workers, build
from voxtral_voice.models.choice import choose, look
from voxtral_voice.models.machine import Machine
from voxtral_voice.models.profile import Plan
from voxtral_voice.models.store import ModelUnavailable, Store, from_config
from voxtral_voice.models.warm_up import warm_up
from voxtral_voice.pipeline import cause
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelState:
    state: Literal["loading", "ready", "failed"] = "loading"
    progress: float = 0.0
    """0 to 1."""
    detail: str = "waiting"


class ModelManager:
    """Owned by the process; `load` runs on its event loop, everything that blocks on threads."""

    plan: Plan | None = None
    """None until the machine has been looked at."""

    def __init__(self, config: Config, store: Store | None = None, facts: Machine | None = None) -> None:
        """`facts`: what the machine is, None to look."""
        self._config = config
        self._store = store or from_config(config)
        self._facts = facts
        self.profile: str = config.engines.profile
        """As the settings have it until the machine has been looked at."""
        self.states: dict[str, ModelState] = {}
        self._engines: Engines | None = None
        self._built: Engines | None = None  # not ready before they are warm
        self._workers: Workers | None = None
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

    @property
    def gpu(self) -> dict[str, object] | None:
        """The GPU in use and what the engines hold of it, None without one."""
        torch = sys.modules.get("torch")
        if self.plan is None or self.plan.profile != "gpu" or self._facts is None or torch is None:
            return None
        return {
            "name": self._facts.gpus[0].name,
            "total_bytes": self._facts.gpus[0].total_bytes,
            "allocated_bytes": torch.cuda.memory_allocated(),
            "reserved_bytes": torch.cuda.memory_reserved(),
        }

    def refusal(self) -> VoiceError | None:
        """Why nobody can be served, if so."""
        if self._failure is not None:
            return VoiceError("model_failed", self._failure.message)
        if self._engines is None:
            waiting = ", ".join(f"{name}: {s.detail}" for name, s in self.states.items() if s.state != "ready")
            return VoiceError("model_loading", f"models are being loaded ({waiting or 'looking at the machine'})")
        return None

    async def load(self) -> None:
        """Choose, fetch, load and warm up. Raises VoiceError: "model_failed", or the code of what failed in an engine.
        The states say which and why."""
        started = time.monotonic()
        try:
            plan = await self._choose(self._config)
            try:
                folders = await self._fetch_all(plan)
            except ModelUnavailable as error:
                plan = await self._without_voxtral(error)
                folders = await self._fetch_all(plan)
            self._workers = Workers.start(plan, self._config)
            for name in self.states:
                self.states[name] = ModelState("loading", 1.0, "loading")
            self._built = await build(plan, folders, self._config, self._workers)
            await warm_up(self._built, self._config, understands=plan.understander == "cascade")
        except Exception as raised:
            origin = cause(raised) if isinstance(raised, ExceptionGroup) else raised
            failure = _failure(origin)
            self._fail(failure)
            if failure is raised:
                raise
            raise failure from origin
        self._engines = self._built
        for name in self.states:
            self.states[name] = ModelState("ready", 1.0, "")
        log.info("%s profile ready in %.1f s", self.profile, time.monotonic() - started)

    def close(self) -> None:
        """Stop the threads and child processes."""
        if self._built is not None:
            self._built.synthesizer.close()
        self._engines = self._built = None
        if self._workers is not None:
            self._workers.close()

    async def _choose(self, config: Config) -> Plan:
        if self._facts is None:
            self._facts = await asyncio.to_thread(look, config)
        loop = asyncio.get_running_loop()

        def fetch(name: str) -> Path:
            return asyncio.run_coroutine_threadsafe(self._fetch(name), loop).result()

        plan = await asyncio.to_thread(choose, config, self._store, fetch, self._facts)
        self.plan, self.profile = plan, plan.profile
        log.info("%s profile: %s%s", plan.profile, plan.why, f". {plan.remedy}" if plan.remedy else "")
        return plan

    async def _without_voxtral(self, error: ModelUnavailable) -> Plan:
        """Where Voxtral was our own choice and cannot be had, the CPU answers. Raises `error` otherwise."""
        engines, lost = self._config.engines, self.states.get("voxtral", ModelState()).state == "failed"
        if not lost or engines.understander != "auto" or engines.profile != "auto":
            raise error
        log.warning("%s", error.message)
        on_cpu = self._config.model_copy(update={"engines": engines.model_copy(update={"profile": "cpu"})})
        plan = await self._choose(on_cpu)
        self.plan = replace(plan, why=f"Voxtral could not be fetched: {error.message}")
        return self.plan

    async def _fetch_all(self, plan: Plan) -> dict[str, Path]:
        names = plan.models(self._config.engines.reply)
        self.states = {name: ModelState() for name in names}
        folders = {}
        for name in names:
            try:
                folders[name] = await self._fetch(name)
            except ModelUnavailable as error:
                if name != "kokoro" or self._config.models.kokoro:
                    raise
                log.warning(
                    "%s\nIts weights are taken from kokoro_onnx, rounded to 8 bits, in their place.", error.message
                )
                del self.states[name]
                folders[name] = await self._fetch("kokoro_onnx")
        return folders

    async def _fetch(self, name: str) -> Path:
        loop = asyncio.get_running_loop()

        def note(done: int, total: int) -> None:
            share = done / total if total else 0.0
            self.states[name] = ModelState(
                "loading", round(share, 3), f"fetching {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            )

        def report(_name: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(note, done, total)

        self.states[name] = ModelState(detail="looking for it")
        fetcher = Worker("fetch")  # not asyncio's threads: the end of the process would wait for 9 GB to arrive
        try:
            return await fetcher.call(self._store.fetch, name, report)
        except VoiceError as error:
            self.states[name] = ModelState("failed", 0.0, error.message)
            raise
        finally:
            fetcher.close()

    def _fail(self, error: VoiceError) -> None:
        self._failure = error
        for name, state in self.states.items():
            if state.state == "loading":
                self.states[name] = ModelState("failed", state.progress, error.message)


def _failure(error: Exception) -> VoiceError:
    """What is said of it. Libraries raise errors of their own for a damaged model."""
    if isinstance(error, VoiceError):
        return error
    said = f"a model could not be loaded: {error or type(error).__name__}"
    # For a file that is missing or damaged the caller's line will do; where in the code it was read is no news.
    log.log(logging.DEBUG if isinstance(error, OSError | ValueError) else logging.ERROR, "%s", said, exc_info=error)
    return VoiceError("model_failed", said)
