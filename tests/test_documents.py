"""The commands and programs in README.md, docs/api.md and RUNPOD_MANUAL_DEPLOYMENT.md do what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from pod import LIGHT, ROOT, Pod, checkout
from scripted_process import free_port, scripted_process, wait_for
from voxtral_voice import config

README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "RUNPOD_MANUAL_DEPLOYMENT.md").read_text(encoding="utf-8")
ENDPOINTS = (ROOT / "docs/api.md").read_text(encoding="utf-8").split("\n## Endpoints\n")[1].split("\n## Speech\n")[0]
BIN = Path(sys.executable).parent
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a pod's terminal finds: nothing of the environment."""

INSTALLS = ("bash setup.sh serve", "bash setup.sh test")
"""Would install, and the second would run this test; test_setup and the slow test of test_deploy are about them."""
ELSEWHERE = ("docker build", "docker push", "api.runpod.ai")
"""Blocks marked `sh`: a Docker engine or a RunPod account is needed."""


def blocks(text: str, language: str) -> list[str]:
    """Code marked with `language`, as it stands; a list's indentation taken away."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.M | re.S)
    return [re.sub(rf"^{indent}", "", code, flags=re.M) for indent, code in found]


def commands(block: str) -> list[str]:
    """Each with its continuation lines and without its comment."""
    joined = re.sub(r"\\\n\s*", "", block)
    return [re.sub(r"\s{2,}#.*", "", line).strip() for line in joined.splitlines() if line.strip()]


def bash(script: str, folder: Path, **environment: str) -> str:
    """What it writes, both ways; fails where it does."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("VOXTRAL_", "PORT"))}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**inherited, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def seconds_of(wav: Path) -> float:
    with wave.open(str(wav)) as file:
        return len(file.readframes(1 << 24)) / 2 / int(file.getframerate())


# README.md


def test_every_command_of_the_readme_is_run_here_or_installs() -> None:
    shown = [command for block in blocks(README, "") for command in commands(block)]
    shown = [command for command in shown if command.startswith(("bash ", "voxtral-voice ", "curl "))]
    assert len(shown) > 8
    installing = [command for command in shown if command.startswith(INSTALLS)]
    assert len(installing) == 2
    assert len(blocks(README, "python")) == 1


@pytest.mark.models
def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"input": {"type": "speak", "text": "Good morning."}}')
    lines = [command for block in blocks(README, "") for command in commands(block)]
    port = str(free_port())
    environment = {"VOXTRAL_MODELS_DIR": str(config.load(environ={}).models.root), **LIGHT}
    said = {}
    for command in lines:
        if command.startswith("voxtral-voice ") and " serve " not in command:
            said[command.split()[1]] = bash(command, tmp_path, **environment)
    assert "bridge" in said["talk"]
    assert "bridge" in said["transcribe"]
    assert "kokoro_voices" in said["models"]
    assert "profile cpu" in said["verify"]
    assert seconds_of(tmp_path / "answer.wav") > 0.5

    (serve,) = (command for command in lines if command.startswith("voxtral-voice serve"))
    (curl,) = (command for command in lines if command.startswith("curl "))
    (program,) = blocks(README, "python")
    server = subprocess.Popen(
        ["bash", "-c", f"exec {serve.replace('8123', port)}"],
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ready", within_s=300)
        bash(curl.replace("8000", port), tmp_path)
        assert seconds_of(tmp_path / "morning.wav") > 0.5
        (tmp_path / "answer.wav").unlink()
        (tmp_path / "talk.py").write_text(program.replace("8000", port))
        assert "bridge" in bash("python talk.py", tmp_path)
        assert seconds_of(tmp_path / "answer.wav") > 0.5
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()


# docs/api.md


def test_the_examples_of_the_endpoints(tmp_path: Path) -> None:
    with scripted_process(tmp_path, VOXTRAL_API_KEY="a-key") as server:
        environment = {"URL": f"http://127.0.0.1:{server.port}", "VOXTRAL_API_KEY": "a-key"}
        said = "".join(bash(block, tmp_path, **environment) for block in blocks(ENDPOINTS, "bash"))
        assert '"ready":true' in said
        assert '"sessions"' in said
        assert seconds_of(tmp_path / "question.wav") > 0.5
        programs = blocks(ENDPOINTS, "python")
        assert len(programs) == 2
        for number, program in enumerate(programs):
            (tmp_path / f"example{number}.py").write_text(program)
            bash(f"python example{number}.py", tmp_path, **environment)
        assert (tmp_path / "morning.mp3").stat().st_size > 1000
        assert seconds_of(tmp_path / "answer.wav") > 0.5


# RUNPOD_MANUAL_DEPLOYMENT.md


def test_what_cannot_run_here_is_marked() -> None:
    for block in blocks(MANUAL, "sh"):
        assert any(word in block for word in ELSEWHERE), block
    for block in blocks(MANUAL, "bash"):
        assert not any(word in block for word in ELSEWHERE), block


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    environment = {
        "VENV": sys.prefix,
        "SKIP_INSTALL": "1",
        "VOXTRAL_PROFILE": "cpu",
        "VOXTRAL_MODELS_DIR": str(config.load(environ={}).models.root),
        **LIGHT,
    }
    there = Pod(tmp_path, environment=environment)
    yield there
    if there.script.exists() and (there.workspace / "run").exists():
        there.run("stop")


@pytest.mark.models
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a pod is a Linux machine")
def test_the_commands_of_the_manual(pod: Pod, tmp_path: Path) -> None:
    """Where they stand in the manual a server is running; so those that end it come last."""
    markers = [
        "git clone",
        "tts.sh status",
        "bin/activate",
        "$URL/health",
        "tts.sh update",
        "tts.sh stop",
        "voxtral-voice job",
    ]
    found = {next(marker for marker in markers if marker in block): block for block in blocks(MANUAL, "bash")}
    assert len(found) == len(blocks(MANUAL, "bash")) == len(markers)
    checkout(tmp_path)
    workspace, source = tmp_path / "workspace", tmp_path / "workspace" / "source"
    workspace.mkdir(exist_ok=True)
    pod.script = source / "deploy_voxtral_tts.sh"
    given = {**pod.environment, "VOXTRAL_WORKSPACE": str(pod.workspace), "PORT": str(pod.port)}
    given |= {"RUNPOD_POD_ID": "abc123", "REPOSITORY": str(tmp_path / "origin"), "PATH": SYSTEM_PATH}
    (pod.workspace / "models").parent.mkdir()
    (pod.workspace / "models").symlink_to(given.pop("VOXTRAL_MODELS_DIR"))
    (pod.workspace / "venv").symlink_to(given.pop("VENV"))

    def here(marker: str) -> str:
        return found[marker].replace("/workspace", str(workspace)).replace(":8000", f":{pod.port}")

    said = {}
    for marker in markers:
        first = here("bin/activate") if marker in ("$URL/health", "voxtral-voice job") else ""
        said[marker] = bash(first + here(marker), workspace if marker == "git clone" else source, **given)
    assert f"https://abc123-{pod.port}.proxy.runpod.net/#key={pod.key}" in said["git clone"]
    assert said["tts.sh status"].count("ready\n") >= 1
    assert "voice to voice, received" in said["$URL/health"]
    assert "voice_sessions_active 0.0" in said["$URL/health"]
    assert "Nothing has changed" in said["tts.sh update"]
    assert seconds_of(source / "morning.wav") > 0.5
