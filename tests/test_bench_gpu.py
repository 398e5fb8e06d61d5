"""The GPU bench, at the size and on the device that are always at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import floors, random_voxtral

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environ: str) -> str:
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, **environ}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(file: Path) -> dict[str, dict[str, Any]]:
    return {row["name"].split(" (")[0]: row for row in json.loads(file.read_text())["rows"]}


def test_the_floors_are_those_of_the_published_sizes() -> None:
    """2.27 TFLOP for 30 s of sound, 2.60 for 399 tokens, 7.22 GB a token; 4.0 GB with layers of 8 bits."""
    unit = floors.Card("one of everything", 1e12, 1e12, 1e9)
    full = floors.floors(random_voxtral.configuration("full"), unit)
    assert full.encoder == pytest.approx(2290, rel=0.03)
    assert full.prefill == pytest.approx(7220, rel=0.01)  # at 1 GB/s the weights take longer than the arithmetic
    assert full.decode == pytest.approx(7220, rel=0.01)
    assert floors.floors(random_voxtral.configuration("full"), unit, 1).decode == pytest.approx(4010, rel=0.01)
    plenty = floors.Card("memory without end", 1e12, 1e12, 1e15)
    assert floors.floors(random_voxtral.configuration("full"), plenty).prefill == pytest.approx(2600, rel=0.03)


def test_the_full_size_is_that_of_the_published_model() -> None:
    with torch.device("meta"):
        from transformers import VoxtralForConditionalGeneration

        model = VoxtralForConditionalGeneration(random_voxtral.configuration("full"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_676_271_104


def test_computed_floors_say_that_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert floors.main() == 0
    printed = capsys.readouterr().out
    assert "not measured" in printed
    assert "RTX 4090" in printed


def test_every_stage_is_measured_and_what_is_not_is_named(tmp_path: Path) -> None:
    """Without models in the store Kokoro's rows are missing, and said to be."""
    file = tmp_path / "gpu.json"
    printed = run("bench.gpu", "--quick", "--weights", "bf16", "--json", str(file), VOXTRAL_MODELS_DIR=str(tmp_path))
    found = rows(file)
    for stage in ("encoder", "prefill", "decode, a token", "first clause, 10 tokens", "peak memory"):
        assert found[f"bf16 eager: {stage}"]["median"] > 0
    assert not any("Kokoro" in name or "first PCM" in name for name in found)
    for missing in ("Kokoro", "end of audio to first PCM", "bf16 graph"):
        assert any(missing in line and "not measured" in line for line in printed.splitlines())


@pytest.mark.models
def test_also_the_voice_and_the_whole_path(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    run("bench.gpu", "--quick", "--weights", "int8", "--device", "cpu", "--json", str(file))
    found = rows(file)
    assert found["Kokoro, first clause of 1.56 s"]["median"] > 0
    path = found["int8 eager: end of audio to first PCM, one stage after the other"]["median"]
    assert path > 0.3 * found["Kokoro, first clause of 1.56 s"]["median"]


@pytest.mark.slow
def test_the_full_size_answers_on_a_cpu_within_16_gib(tmp_path: Path) -> None:
    """Written, loaded from its files and asked. Needs 10 GB of disk and several minutes."""
    file = tmp_path / "cpu.json"
    run("bench.voxtral_on_cpu", "--json", str(file), TMPDIR=str(tmp_path))
    found = rows(file)
    assert found["peak memory"]["median"] <= 16
    assert found["each further token"]["n"] == 11
