"""What load balancers, monitors and supervisors rely on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from local_server import LocalServer, QuietHandler
from realtime_server import serving
from scripted_process import free_port, scripted_process, wait_for
from voxtral_voice.server.last_use import LastUse


async def test_ping_is_empty_and_204_while_models_load_then_200_and_503_when_they_failed() -> None:
    async with serving(state="loading") as server:
        loading = await server.get("/ping")
        assert (loading.status_code, loading.content) == (204, b"")
        assert (await server.get("/ready")).status_code == 503
        server.manager.become("ready")
        assert (await server.get("/ping")).status_code == 200
        server.manager.become("failed")
        assert (await server.get("/ping")).status_code == 503
        assert (await server.get("/health")).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/healthz/live", "/ping"])
async def test_the_load_balancers_path_answers_as_ping_does_and_needs_no_key(path: str) -> None:
    async with serving(state="loading", overrides={"server.health_path": path}, key="a-secret") as server:
        assert (await server.get(path)).status_code == 204
        assert (await server.get("/ping")).status_code == 204
        assert (await server.get("/status")).status_code == 401


async def test_the_second_port_serves_health_alone_under_the_same_key() -> None:
    port = free_port()
    async with (
        serving(overrides={"server.health_port": port}, key="a-secret") as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as health,
    ):
        assert server.port != port
        shown = {"X-API-Key": "a-secret"}
        for path in ("/ping", "/health", "/ready"):
            assert (await health.get(path)).status_code == 200
        for path in ("/status", "/metrics"):
            assert (await health.get(path)).status_code == 401
            assert (await health.get(path, headers=shown)).status_code == 200
        for path in ("/v1/models", "/", "/docs", "/openapi.json"):
            assert (await health.get(path, headers=shown)).status_code == 404
        assert (await health.get("/v1/realtime", headers=shown)).status_code == 404
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the second port is still open"


async def test_the_status_says_how_long_nobody_has_used_the_server() -> None:
    now = 100.0
    last_use = LastUse(lambda: now)
    now += 7.9
    assert last_use.idle_s == 7
    with last_use.under_way():
        now += 50
        with last_use.under_way():
            pass
        assert last_use.idle_s == 0
    now += 3
    assert last_use.idle_s == 3


async def test_only_who_talks_uses_the_server() -> None:
    async with serving(key="a-secret") as server:
        shown = {"X-API-Key": "a-secret"}

        async def idle_s() -> int:
            async with httpx.AsyncClient(base_url=server.url, headers=shown) as http:
                seconds: int = (await http.get("/status")).json()["idle_s"]
                return seconds

        await asyncio.sleep(1.1)
        async with async_connect(server.socket_url) as refused:
            await refused.recv()
            assert await idle_s() >= 1
        async with httpx.AsyncClient(base_url=server.url) as http:
            for path in ("/ping", "/health", "/nope", "/v1/audio/speech"):
                await http.post(path)
            await http.post("/ping", headers=shown)
        assert await idle_s() >= 1
        async with async_connect(server.socket_url, additional_headers=shown) as socket:
            await socket.recv()
            assert await idle_s() == 0


async def test_one_port_named_twice_is_one_port() -> None:
    port = free_port()
    async with serving(overrides={"server.port": port, "server.health_port": port}) as server:
        assert server.runner.second is None
        assert (await server.get("/ping")).status_code == 200


def test_a_signal_ends_the_server_in_good_order(tmp_path: Path) -> None:
    second = free_port()
    with scripted_process(tmp_path, PORT_HEALTH=str(second), HEALTH_CHECK_PATH="/alive") as server:
        assert httpx.get(f"http://127.0.0.1:{second}/alive").status_code == 200
        with connect(server.socket_url) as client:
            client.recv()
            server.popen.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server is going away")
        assert server.popen.wait(60) == 0


@contextmanager
def endless_index() -> Iterator[str]:
    """The address of a package index whose answers never end: a byte of them every 50 ms."""
    over = threading.Event()

    class Endless(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()
            with suppress(OSError):
                while not over.wait(0.05):
                    self.wfile.write(b" ")

    with LocalServer(Endless) as index:
        yield index.url
        over.set()


def test_a_signal_ends_a_server_whose_models_are_still_coming(tmp_path: Path) -> None:
    port = free_port()
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("VOXTRAL_", "PORT"))}
    with endless_index() as index:
        process = subprocess.Popen(
            [sys.executable, "-m", "voxtral_voice.cli", "serve", "--port", str(port), "--host", "127.0.0.1"],
            env={
                **inherited,
                "VOXTRAL_MODELS_DIR": str(tmp_path),
                "HF_HOME": str(tmp_path),
                "HF_HUB_OFFLINE": "1",
                "PIP_INDEX_URL": index,
            },
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            end = time.monotonic() + 60
            while "looking for it" not in httpx.get(f"http://127.0.0.1:{port}/ready").text:
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.5)
            assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 204
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def serve(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`voxtral-voice serve` as a process that is expected to end by itself."""
    program = [sys.executable, "-m", "voxtral_voice.cli", "serve"]
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("VOXTRAL_", "PORT"))}
    return subprocess.run(
        program, cwd=tmp_path, env={**inherited, **environment}, capture_output=True, text=True, timeout=180
    )


def test_a_taken_health_port_stops_the_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, PORT=str(free_port()), PORT_HEALTH=port, VOXTRAL_MODELS_DIR=str(tmp_path))
    assert done.returncode not in (0, None)
    assert "address already in use" in done.stderr


def test_a_key_that_no_header_can_carry_stops_the_start(tmp_path: Path) -> None:
    done = serve(tmp_path, PORT=str(free_port()), VOXTRAL_API_KEY="two words", VOXTRAL_MODELS_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "VOXTRAL_API_KEY" in done.stderr
    assert "two words" not in done.stderr
