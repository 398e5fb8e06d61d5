"""The examples of docs/api.md for jobs, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pod import LIGHT
from test_worker import level
from voxtral_voice import audio, config
from voxtral_voice.types import HEAR_HZ
from voxtral_voice.worker import items, job_input
from worker_process import ROOT, Deployed

API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
JOBS = API.split("\n## Jobs\n")[1].split("\n## ")[0]


def example(language: str, marker: str) -> str:
    (found,) = (code for code in re.findall(rf"```{language}\n(.*?)```", JOBS, re.S) if marker in code)
    return str(found)


def test_every_example_is_run_by_a_test() -> None:
    markers = ["/runsync", '/run"', "runpod.Endpoint", "voxtral-voice job"]
    blocks = re.findall(r"```\w+\n(.*?)```", JOBS, re.S)
    assert [next(marker for marker in markers if marker in block) for block in blocks] == markers


def test_curl_and_python_talk_to_an_endpoint(deployed: Deployed, tmp_path: Path) -> None:
    plane, base = deployed.plane, f"{deployed.plane.url}/v2"
    (tmp_path / "question.wav").write_bytes(audio.to_wav(level(42), HEAR_HZ))
    environment = {
        **os.environ,
        "ENDPOINT": "ep",
        "RUNPOD_API_KEY": "key",
        "RUNPOD_ENDPOINT_BASE_URL": base,
        "HOME": str(tmp_path),
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def curl(marker: str) -> dict[str, object]:
        script = example("bash", marker).replace("https://api.runpod.ai/v2", base)
        assert base in script
        answer: dict[str, object] = json.loads(run("bash", "-euc", script))
        return answer

    answer = curl("/runsync")
    assert answer["status"] == "COMPLETED"
    assert [item["type"] for item in answer["output"]] == ["audio", "done"]  # type: ignore[attr-defined]
    job = str(curl('/run"')["id"])
    assert plane.result(job)["output"][0]["text"] == "word42"

    printed = run(sys.executable, "-c", example("python", "runpod.Endpoint"))
    assert printed.splitlines() == ["word42  120 ms"] * 2
    assert len(audio.from_pcm16((tmp_path / "answer.pcm").read_bytes())) > 0
    heard = "user: word42 | assistant: word42 | user: "  # the second turn knew the first
    assert deployed.worker.notes("asked", re.escape(heard) + "$")


@pytest.mark.models
def test_the_example_for_this_machine(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-euc", example("bash", "voxtral-voice job")]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **LIGHT, "PATH": path}, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert np.abs(audio.read(tmp_path / "morning.wav", HEAR_HZ)).max() > 0.05


def test_what_the_document_says_of_limits_is_so() -> None:
    limits = config.load(environ={}).limits
    assert f"`limits.job_input_bytes` ({limits.job_input_bytes // 1_000_000} MB)" in JOBS
    assert f"`limits.job_output_bytes` ({limits.job_output_bytes // 1_000_000} MB" in JOBS
    assert f"`limits.job_audio_s` ({limits.job_audio_s:g} s)" in " ".join(JOBS.split())
    assert f"`limits.speech_input_chars` ({limits.speech_input_chars})" in JOBS
    assert f"(`limits.jobs`, {limits.jobs})" in JOBS
    assert f"{job_input.HISTORY_BYTES // 1000} kB" in JOBS
    seconds = (limits.job_output_bytes - items.RESERVED_BYTES) * 3 / 4 / (2 * 24_000)
    assert f"about {round(seconds, -1):.0f} s of sound" in JOBS
