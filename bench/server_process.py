"""A server in a process of its own, and what it costs: ours, ours without models, or the peer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.line import Wire

_START_S = 300.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PEER = Path(__file__).parent / "peer" / "pipecat_server.py"


@dataclass(frozen=True, slots=True)
class Spent:
    """At one moment."""

    at_s: float
    cpu_s: float
    memory_bytes: int
    """Resident, of the process and its children, shared pages counted once a process."""
    files: int
    threads: int


@dataclass(frozen=True)
class Running:
    """A server that can be talked to."""

    name: str
    wire: Wire
    url: str
    process: subprocess.Popen[str]

    def spent(self) -> Spent:
        """Read from /proc (Linux)."""
        processes = [self.process.pid, *_children(self.process.pid)]
        cpu = memory = threads = 0
        for pid in processes:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                memory += _resident(pid)
            except FileNotFoundError:  # a child that has just ended
                continue
            cpu += int(fields[11]) + int(fields[12])
            threads += int(fields[17])
        files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return Spent(time.monotonic(), cpu / _TICKS_PER_S, memory, files, threads)

    def lag(self) -> tuple[float, int]:
        """(99th percentile in ms of how late its event loop woke, samples) since the last call.

        Only servers made for benches can tell.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("lag\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        return float(found["p99_ms"]), int(found["n"])

    def settle(self, within_s: float = 5.0) -> None:
        """Wait until it computes nothing any more: what one turn left behind must not slow the next."""
        end, before = time.monotonic() + within_s, self.spent()
        while time.monotonic() < end:
            time.sleep(0.2)
            after = self.spent()
            if after.cpu_s - before.cpu_s <= 0.01:
                return
            before = after


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            direct = [int(each) for each in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue
        for child in direct:
            found += [child, *_children(child)]
    return found


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def ours(**environment: str) -> Iterator[Running]:
    """`voxtral-voice serve` with its models; `environment`: VOXTRAL_… variables, without the prefix."""
    port = free_port()
    command = [sys.executable, "-m", "voxtral_voice.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with _started(command, {"LOGGING__LEVEL": "warning", **environment}) as process:
        _wait_ready(process, f"http://127.0.0.1:{port}/ready")
        yield Running("ours", "realtime", f"ws://127.0.0.1:{port}/v1/realtime", process)


@contextmanager
def ours_zero_cost(*options: str, **environment: str) -> Iterator[Running]:
    """The same server with engines that cost nothing; `options` of bench/zero_cost.py."""
    port = free_port()
    with _started([sys.executable, "-m", "bench.zero_cost", "--port", str(port), *options], environment) as process:
        _wait_line(process)
        yield Running("ours", "realtime", f"ws://127.0.0.1:{port}/v1/realtime", process)


@contextmanager
def peer(python: Path, *options: str) -> Iterator[Running]:
    """Pipecat, run by `python` of its own environment."""
    port = free_port()
    with _started([str(python), str(_PEER), "--port", str(port), *options], {}) as process:
        _wait_line(process)
        yield Running("peer", "pipecat", f"ws://127.0.0.1:{port}/ws", process)


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    kept = ("VOXTRAL_MODELS_DIR",)
    inherited = {
        name: text for name, text in os.environ.items() if name in kept or not name.startswith(("VOXTRAL_", "PORT"))
    }
    ours = {f"VOXTRAL_{name}": text for name, text in environment.items()}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**inherited, **ours}
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_line(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != "ready":
        raise RuntimeError(f"the server did not start; it wrote {line!r}")


def _wait_ready(process: subprocess.Popen[str], address: str) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no 200 at {address} within {_START_S:g} s")
