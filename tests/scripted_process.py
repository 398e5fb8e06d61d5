"""The server as a process of its own, with scripted engines: for signals, exit codes and everything it writes.

    with scripted_process() as server:
        ...  # http://127.0.0.1:{server.port}

`python tests/scripted_process.py` is that process; its settings come from the environment.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx


@dataclass(frozen=True)
class Process:
    popen: subprocess.Popen[str]
    port: int
    stderr: IO[str]

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def written(self) -> str:
        """All that it has written so far."""
        self.stderr.seek(0)
        return self.stderr.read()


@contextmanager
def scripted_process(folder: Path, port: int | None = None, **environment: str) -> Iterator[Process]:
    """Ready at a free port or `port`; killed where it does not end by itself. `folder`: for what it writes."""
    port = port or free_port()
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("VOXTRAL_", "PORT"))}
    with (folder / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, __file__],
            env={**inherited, "PORT": str(port), "VOXTRAL_SERVER__HOST": "127.0.0.1", **environment},
            stderr=stderr,
            text=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ready")
            yield Process(process, port, stderr)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that nobody listens at, below those that the system gives to connections: none takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


def wait_for(address: str, within_s: float = 120) -> None:
    """Until somebody answers there with 200."""
    end = time.monotonic() + within_s
    while True:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"no 200 at {address}"
        time.sleep(0.05)


def main() -> int:
    from realtime_server import ScriptedManager, quick
    from scripted import script
    from voxtral_voice import config, logs
    from voxtral_voice.server.app import create_app
    from voxtral_voice.server.run import Server

    settings = config.load()
    logs.configure(settings.logging)
    parts = script()
    quick(parts)
    runner = Server(create_app(settings, ScriptedManager(parts, "ready"), os.environ.get("VOXTRAL_API_KEY")), settings)
    runner.run()
    for worker in parts.workers:
        worker.close()
    return 0 if runner.started else 1


if __name__ == "__main__":
    sys.exit(main())
