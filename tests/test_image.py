"""The image: Dockerfile, its command start.sh, and what RunPod's Hub is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from dockerfile import ROOT, Image, ignored, instructions
from scripted_process import free_port
from voxtral_voice import config
from voxtral_voice.models.store import from_config
from voxtral_voice.voices import VOICES
from voxtral_voice.worker.job_input import read

HUB: dict[str, Any] = json.loads((ROOT / ".runpod" / "hub.json").read_text())
TESTS: dict[str, Any] = json.loads((ROOT / ".runpod" / "tests.json").read_text())
BASE = next(text for instruction, text in instructions() if instruction == "FROM")
CUDA = re.search(r"-cu(\d\d)(\d)\d-torch", BASE)


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_base_is_an_exact_tag_and_carries_the_torch_we_pin_for_it() -> None:
    assert re.fullmatch(r"runpod/pytorch:\d+\.\d+\.\d+-cu\d{4}-torch\d{3}-ubuntu\d{4}", BASE)
    (pin,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements-cuda12.txt").read_text(), re.M)
    assert f"-torch{pin.replace('.', '')}-" in BASE


def test_dependencies_come_before_code() -> None:
    steps = [text for instruction, text in instructions() if instruction in ("COPY", "RUN")]
    installed = next(number for number, text in enumerate(steps) if "--requirement" in text)
    code = next(number for number, text in enumerate(steps) if text.startswith("src "))
    assert installed < code
    assert not any("src" in text or "pyproject" in text for text in steps[:installed])


def test_docker_is_given_what_is_copied_and_nothing_private() -> None:
    copied = [source for instruction, text in instructions() if instruction == "COPY" for source in text.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert not ignored(source)
    for name in (".venv/bin/python", ".git/config", "tests/pod.py", "logs/server.log", "src/voxtral_voice/__pycache__"):
        assert ignored(name), name


# start.sh


def started(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """(exit code, the command that start.sh becomes with the key it has, what it says)."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "python").write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\n'
        'echo "python $@ | $VOXTRAL_API_KEY | $VOXTRAL_SERVER__ORIGINS"\n'
    )
    (tools / "python").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "start.sh"), *arguments],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "VOXTRAL_WORKSPACE": str(tmp_path / "work space"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout.strip(), done.stderr


SERVER, WORKER = "python -u -m voxtral_voice.cli serve", "python -u handler.py"
MODES = [
    ({}, SERVER),
    ({"RUNPOD_WEBHOOK_GET_JOB": "https://api/job-take/$ID"}, WORKER),
    ({"MODE_TO_RUN": "serverless"}, WORKER),
    ({"MODE_TO_RUN": "pod", "RUNPOD_WEBHOOK_GET_JOB": "https://api/job-take/$ID"}, SERVER),
]


@pytest.mark.parametrize(("environment", "command"), MODES)
def test_the_mode_is_chosen_or_detected(tmp_path: Path, environment: dict[str, str], command: str) -> None:
    code, became, _ = started(tmp_path, **environment)
    assert (code, became) == (0, f"{command} |  |")


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    code, became, said = started(tmp_path, MODE_TO_RUN="both")
    assert (code, became) == (2, "")
    assert "pod or serverless, not both" in said


def test_a_pod_without_a_key_gets_one_that_is_kept(tmp_path: Path) -> None:
    _, became, said = started(tmp_path, RUNPOD_POD_ID="abc", PORT="9000")
    command, key, origins = became.split(" | ")
    assert command == SERVER
    assert len(key) == 32
    assert origins == '["https://abc-9000.proxy.runpod.net"]'
    kept = tmp_path / "work space" / "api-key"
    assert str(kept) in said
    assert key not in said
    assert (kept.read_text().strip(), kept.stat().st_mode & 0o777) == (key, 0o600)
    assert started(tmp_path, RUNPOD_POD_ID="abc")[1].split(" | ")[1] == key


def test_a_key_of_ones_own_and_a_load_balancers_gate_are_left_as_they_are(tmp_path: Path) -> None:
    assert started(tmp_path, RUNPOD_POD_ID="abc", VOXTRAL_API_KEY="mine")[1].split(" | ")[1] == "mine"
    assert started(tmp_path, RUNPOD_POD_ID="abc", RUNPOD_ENDPOINT_ID="ep")[1] == f"{SERVER} |  |"
    assert not (tmp_path / "work space").exists()


def test_the_health_check_asks_the_port_that_is_open(tmp_path: Path) -> None:
    assert started(tmp_path, "health", PORT=str(free_port()))[0] != 0
    assert started(tmp_path, "health", MODE_TO_RUN="serverless")[0] == 0


# RunPod's Hub


def test_the_hub_listing_has_the_fields_that_the_hub_reads() -> None:
    assert set(HUB) <= {"title", "description", "type", "category", "iconUrl", "config"}
    assert (HUB["type"], HUB["category"]) == ("serverless", "audio")
    chosen = HUB["config"]
    known = {"runsOn", "endpointType", "containerDiskInGb", "gpuIds", "gpuCount", "cpuFlavor"}
    assert set(chosen) <= known | {"allowedCudaVersions", "presets", "env"}
    assert chosen["runsOn"] == "GPU"
    pools = {"AMPERE_16", "AMPERE_24", "ADA_24", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO", "HOPPER_141"}
    assert set(chosen["gpuIds"].split(",")) <= pools
    assert len(chosen["gpuIds"].split(",")) <= 3
    for name in ("README.md", "Dockerfile", "handler.py"):
        assert (ROOT / name).is_file()


def test_only_hosts_that_can_run_the_image_are_taken() -> None:
    assert CUDA is not None
    for versions in (HUB["config"]["allowedCudaVersions"], TESTS["config"]["allowedCudaVersions"]):
        assert versions[0] == f"{CUDA[1]}.{CUDA[2]}"
        assert versions == sorted(versions)


def test_the_settings_of_the_hub_are_settings_of_ours() -> None:
    keys = []
    for entry in HUB["config"]["env"]:
        assert set(entry) in ({"key", "value"}, {"key", "input"})
        keys.append(entry["key"])
        if "input" in entry:
            wanted = entry["input"]
            known = {"name", "type", "description", "default", "options", "min", "max", "required", "advanced"}
            assert set(wanted) <= known | {"trueValue", "falseValue"}
            assert wanted["type"] in {"string", "number", "boolean", "huggingface"}
            for value in (wanted["default"], *(option["value"] for option in wanted.get("options", ()))):
                loaded = config.load(environ={entry["key"]: str(value)})
                section, key = entry["key"].removeprefix("VOXTRAL_").lower().split("__")
                assert str(getattr(getattr(loaded, section), key)) == str(value)
                if key == "name":
                    assert value in VOICES
            if "options" not in wanted:
                plain = config.load(environ={}).model_dump()
                assert plain[section][key] == wanted["default"], "the Hub shows another default than ours"
    for preset in HUB["config"]["presets"]:
        assert set(preset) == {"name", "defaults"}
        assert set(preset["defaults"]) <= set(keys)
        config.load(environ=preset["defaults"])


def test_the_jobs_of_the_hubs_test_are_jobs_of_ours() -> None:
    assert set(TESTS) == {"tests", "config"}
    assert set(TESTS["config"]) <= {"gpuTypeId", "gpuCount", "env", "allowedCudaVersions"}
    settings = config.load(environ={})
    for test in TESTS["tests"]:
        assert set(test) == {"name", "input", "timeout"}
        job = read(test["input"], settings, frozenset({"en"}))
        assert type(job).__name__.lower() == test["input"]["type"]


@pytest.mark.slow
@pytest.mark.models
def test_the_steps_of_the_dockerfile_make_a_server_that_gets_ready(tmp_path: Path) -> None:
    """All but FROM, in a clean folder. Without DOCKER_BASE_PYTHON, a Python with the base's torch, 3.5 GB more."""
    base = os.environ.get("DOCKER_BASE_PYTHON")
    if base is None:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "base"], check=True)
        base = str(tmp_path / "base" / "bin" / "python")
        pins = ROOT / "requirements-cuda12.txt"
        subprocess.run([base, "-m", "pip", "install", "--quiet", "--requirement", pins], check=True)
    image = Image(tmp_path, base, {"MODELS": "silero smart_turn kokoro_onnx kokoro_voices"})  # what needs no hub
    begun = time.monotonic()
    image.build()
    print(f"built in {time.monotonic() - begun:.0f} s")  # noqa: T201
    assert "No broken requirements found" in image.run("pip check")
    pinned = re.search(r"torch==(\S+)", (ROOT / "requirements-cuda12.txt").read_text())
    assert pinned is not None
    assert image.run("python -c 'import torch; print(torch.__version__)'").split("+")[0].strip() == pinned[1]
    assert not list(image.workdir.rglob("tests"))
    image.run("python -c 'import handler'")
    listed = image.run("VOXTRAL_MODELS_DIR=/opt/voxtral-voice/models voxtral-voice models list")
    for name in image.environment["MODELS"].split():
        assert re.search(rf"^{name} .*\(store\)$", listed, re.M), listed

    port = free_port()
    stored = str(from_config(config.load(environ={})).root)
    server = subprocess.Popen(
        ["bash", "start.sh"],
        cwd=image.workdir,
        env={**image.variables(), "PORT": str(port), "VOXTRAL_PROFILE": "cpu", "VOXTRAL_MODELS_DIR": stored},
    )
    try:
        end = time.monotonic() + 180
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
        image.environment["PORT"] = str(port)
        image.run("bash start.sh health")
        print(image.run(f"python -m bench.smoke --url http://127.0.0.1:{port}"))  # noqa: T201
        server.terminate()
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
