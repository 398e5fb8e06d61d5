"""Every bench runs: a quick run prints its rows and writes the one JSON schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.peer import install

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, bench: str, *options: str, timeout_s: float = 300) -> dict[str, Any]:
    """The result of `python -m bench.<bench> --quick`, checked against the schema."""
    file = tmp_path / f"{bench}.json"
    inherited = {name: text for name, text in os.environ.items() if name != "VOXTRAL_TEST_AUDIO"}
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{bench}", "--quick", "--json", str(file), *options],
        cwd=ROOT,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert set(result) == {"bench", "version", "machine", "date", "params", "rows"}
    assert all(set(row) == {"name", "n", "median", "p90", "unit"} for row in result["rows"])
    for row in result["rows"]:
        assert row["name"] in done.stdout
    return result


def figures(result: dict[str, Any]) -> dict[str, float]:
    return {row["name"].strip(): row["median"] for row in result["rows"]}


def test_load_answers_every_turn_and_says_what_it_costs(tmp_path: Path) -> None:
    found = figures(run(tmp_path, "load"))
    assert found["ours, 2 sessions: turns not answered"] == 0
    assert found["ours, 2 sessions: CPU of all, talking"] > 0
    assert found["ours, 2 sessions: latency"] > 200, "the silence that the rules demand"


@pytest.mark.slow
def test_load_over_a_bad_network_still_answers(tmp_path: Path) -> None:
    assert figures(run(tmp_path, "load", "--network", "bad"))["ours, 2 sessions: turns not answered"] == 0


@pytest.mark.slow
def test_soak_holds_conversations_and_gives_every_file_back(tmp_path: Path) -> None:
    found = figures(run(tmp_path, "soak"))
    assert found["calls ended"] >= 1
    assert found["files open after all have hung up"] < found["files open with all sessions"]


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.parametrize(
    ("bench", "row"),
    [
        ("turn_taking", "medium: end of turn known"),
        ("voice_to_voice", "voice_to_voice_sent_ms"),
        ("components", "silero, a window of 32 ms"),
        ("barge_in", "start of speech to stopped"),
        ("stalls", "replies with sound"),
        ("simultaneous", "1 at once: voice_to_voice_sent_ms"),
    ],
)
def test_benches_with_models_print_their_rows(tmp_path: Path, bench: str, row: str) -> None:
    assert figures(run(tmp_path, bench))[row] > 0


@pytest.mark.slow
@pytest.mark.models
def test_the_peer_is_asked_the_same_and_answers(tmp_path: Path) -> None:
    if not install.python(install.folder()).exists():
        pytest.skip("Pipecat is not installed: python -m bench.peer --install")
    found = figures(run(tmp_path, "peer", timeout_s=900))
    assert found["ours: turns not answered"] == found["peer: turns not answered"] == 0
    assert found["voice to voice, ours / peer"] > 0


@pytest.mark.slow
def test_without_pipecat_the_peer_bench_says_how_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.peer", "--peer", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "python -m bench.peer --install" in done.stderr
