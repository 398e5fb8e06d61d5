"""The worker as a process of its own, at a control plane.

A worker takes seconds to start, so tests share the fixture `deployed` where they can.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[1]
SCRIPTED = Path(__file__).with_name("scripted_worker.py")


@dataclass
class WorkerProcess:
    """`python handler.py`, or the same with scripted engines."""

    process: subprocess.Popen[bytes]
    folder: Path

    def notes(self, what: str, text: str) -> list[float]:
        """When scripted engines noted this (`begun`, `cancel`, `free`), on the wall clock."""
        file = self.folder / "notes"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line["at_s"] for line in lines if line["what"] == what and re.search(text, line["text"])]

    def note(self, what: str, text: str, within_s: float = 60) -> float:
        """When they first noted it; waits until they do."""
        end = time.monotonic() + within_s
        while not (found := self.notes(what, text)):
            assert time.monotonic() < end, f"no {what!r} of {text!r} within {within_s:g} s"
            time.sleep(0.01)
        return found[0]

    @property
    def log(self) -> str:
        """All that it wrote."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def worker(
    plane: ControlPlane, *command: str, ready: bool = True, environment: dict[str, str] | None = None
) -> Iterator[WorkerProcess]:
    """Run a worker (default: with scripted engines) until the block ends. `ready`: wait until it asks for jobs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VOXTRAL_", "RUNPOD_"))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", *(command or (str(SCRIPTED), str(folder / "notes")))],
                cwd=ROOT,
                env={**clean, **plane.environment, **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its ping process can be ended with it
            )
            running = WorkerProcess(process, folder)
            try:
                if ready:
                    before = plane.polls
                    plane.wait(lambda: plane.polls > before or process.poll() is not None, 120)
                    assert process.poll() is None, running.log
                yield running
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


@dataclass(frozen=True)
class Deployed:
    plane: ControlPlane
    worker: WorkerProcess


@pytest.fixture(scope="session")
def one_at_a_time() -> Iterator[tuple[ControlPlane, list[str]]]:
    """Twenty jobs for a worker that pauses a second after each, as RunPod's SDK does at a concurrency of 1."""
    with ControlPlane() as plane, worker(plane, environment={"VOXTRAL_LIMITS__JOBS": "1"}, ready=False):
        yield plane, [plane.submit({"type": "speak", "text": f"Number {number}."}) for number in range(20)]


@pytest.fixture(scope="session")
def deployed(one_at_a_time: object) -> Iterator[Deployed]:
    """A worker with scripted engines; the twenty jobs of the other one go on meanwhile."""
    with ControlPlane() as plane, worker(plane) as process:
        yield Deployed(plane, process)
