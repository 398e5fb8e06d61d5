"""deploy_voxtral_tts.sh leaves alone what is not its own, and refuses what cannot work before it stops anything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pod import Pod, needs_a_pods_tools, processes, scripted_pod
from scripted_process import free_port, scripted_process

pytestmark = needs_a_pods_tools


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    there = scripted_pod(tmp_path)
    yield there
    if (there.workspace / "run").exists():
        there.run("stop")


@pytest.mark.parametrize("arguments", [(), ("begin",), ("start", "now"), ("supervise", "me")])
def test_wrong_usage_is_told_and_does_nothing(pod: Pod, arguments: tuple[str, ...]) -> None:
    command = ["bash", str(pod.script), *arguments]
    done = subprocess.run(command, env=pod.variables(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert not pod.workspace.exists()


@pytest.mark.parametrize("key", ["", "somebody.elses"])
def test_a_port_that_another_server_has_is_refused(pod: Pod, tmp_path: Path, key: str) -> None:
    with scripted_process(tmp_path, pod.port, VOXTRAL_API_KEY=key) as stranger:
        done = pod.run("start")
        assert done.returncode == 1
        assert f"another program listens at port {pod.port}" in done.stdout
        assert "/#key=" not in done.stdout
        assert processes(pod) == []
        assert pod.run("status").returncode == 3
        assert stranger.popen.poll() is None


def test_a_running_server_is_moved_by_restart_alone(pod: Pod) -> None:
    assert pod.run("start").returncode == 0
    before, old = pod.server_pid, pod.port
    pod.port = free_port()
    done = pod.run("start")
    assert done.returncode == 1
    assert f"it runs at port {old}; `restart` moves it to {pod.port}" in done.stdout
    assert f"abc123-{old}.proxy" in pod.run("status").stdout
    assert pod.server_pid == before

    with scripted_process(pod.folder, pod.port):  # a move to where somebody is leaves it where it was
        assert pod.run("restart").returncode == 1
        assert pod.server_pid == before
    assert pod.run("restart").returncode == 0
    pod.ready_after_s()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{old}/health")


def test_a_start_that_waits_in_vain_leaves_a_server_that_it_did_not_launch(pod: Pod) -> None:
    assert pod.run("start").returncode == 0
    before = pod.server_pid
    impatient = pod.folder / "impatient"
    impatient.mkdir()
    (impatient / "curl").write_text(f'#!/bin/sh\nexec {shutil.which("curl")} "$@" -m 1\n')  # 1 s for the script's 10
    (impatient / "curl").chmod(0o755)
    os.kill(before, signal.SIGSTOP)
    try:
        pod.environment |= {"READY_S": "1", "PATH": f"{impatient}:{os.environ['PATH']}"}
        done = pod.run("start")
    finally:
        os.kill(before, signal.SIGCONT)
    assert done.returncode == 1
    assert "not ready after 1 s" in done.stdout
    pod.ready_after_s()
    assert pod.server_pid == before


BAD_SETTINGS = [
    ("PORT", "8000; true"),
    ("PORT", "70000"),
    ("READY_S", "soon"),
    ("IDLE_STOP_MINUTES", "-5"),
    ("IDLE_STOP_MINUTES", "30m"),
    ("VOXTRAL_API_KEY", "with spaces"),
    ("VOXTRAL_API_KEY", "two\nlines"),
]


def test_bad_settings_are_told_before_anything_is_stopped_or_stored(pod: Pod) -> None:
    assert pod.run("start").returncode == 0
    before, key, good = pod.server_pid, pod.key, dict(pod.environment)
    for name, text in BAD_SETTINGS:
        pod.environment = good | {name: text}
        for command in ("start", "restart"):
            done = pod.run(command)
            assert done.returncode == 1, (name, text)
            assert name in done.stdout
    assert (pod.server_pid, pod.key) == (before, key)
    assert httpx.get(f"{pod.url}/ready").status_code == 200


def test_another_workspaces_server_is_none_of_ours(pod: Pod, tmp_path: Path) -> None:
    assert pod.run("start").returncode == 0
    other = scripted_pod(tmp_path / "other")
    (other.workspace / "run").mkdir(parents=True)
    for name in ("server", "supervisor"):
        shutil.copy(pod.workspace / "run" / f"{name}.pid", other.workspace / "run")
    assert other.run("status").returncode == 3
    assert other.run("stop").returncode == 0
    assert pod.run("status").returncode == 0


def test_a_trace_of_the_script_does_not_show_the_key(pod: Pod) -> None:
    (pod.workspace).mkdir(parents=True)
    (pod.workspace / "api-key").write_text("kept.by-the-owner")  # without a line end, readable by all
    (pod.workspace / "api-key").chmod(0o644)
    for given in ({}, {"VOXTRAL_API_KEY": "given.by-the-owner"}):
        command = ["bash", "-x", str(pod.script), "restart"]
        done = subprocess.run(command, env=pod.variables() | given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert f"/#key={pod.key}" in done.stdout
        assert "by-the-owner" in pod.key
        assert "+ summary" in done.stderr
        assert pod.key not in done.stderr
        assert (pod.workspace / "api-key").stat().st_mode & 0o777 == 0o600


def test_a_workspace_that_cannot_be_made_is_told(pod: Pod) -> None:
    pod.environment["VOXTRAL_WORKSPACE"] = "/proc/nowhere"
    for command in ("start", "restart"):
        done = pod.run(command)
        assert done.returncode == 1
        assert "/proc/nowhere cannot be made: VOXTRAL_WORKSPACE" in done.stdout
