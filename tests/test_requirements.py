"""`voxtral-voice verify` and verify_requirements.py: which profile will run here and why, and what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoint_examples import put_config, put_voxtral
from machines import A4500, GIB, MINI, NO_GPU, OLD_DRIVER, RTX_3070, RTX_4090, SMALL_RAM
from voxtral_voice import cli, config
from voxtral_voice.models import choice, requirements
from voxtral_voice.models.catalog import MODELS
from voxtral_voice.models.machine import Machine
from voxtral_voice.models.profile import Plan, Wanted, decide
from voxtral_voice.models.requirements import Line, ModelAt, check, installed_packages, met, report

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [Line("ok", "all packages")]


def lines(machine: Machine, wanted: Wanted | None = None, *, fetched: bool = True) -> list[Line]:
    """What is said of a machine, with its models there or not."""
    decision = decide(wanted or Wanted(checkpoint=MINI), machine)
    names = decision.models("smollm2") if isinstance(decision, Plan) else ()
    return check(machine, decision, [ModelAt(MODELS[name], "/models" if fetched else "") for name in names], PACKAGES)


def test_a_machine_that_can() -> None:
    found = lines(RTX_4090)
    assert met(found)
    text = report(found)
    assert "ok      GPU: NVIDIA GeForce RTX 4090, 24.9 of 25.3 GB are free, compute capability 8.9" in text
    assert "driver 580.65.06" in text
    assert "ok      profile gpu (Voxtral, Kokoro on torch): NVIDIA GeForce RTX 4090: Voxtral in bf16" in text


def test_a_card_too_small_is_said_where_the_cpu_takes_over() -> None:
    found = lines(RTX_3070)
    assert met(found)
    assert "profile cpu (Whisper and a text model, Kokoro): Voxtral in int8" in report(found)
    assert "-> Use a GPU with 9.7 GB or more" in report(found)


@pytest.mark.parametrize(
    ("machine", "wanted", "said"),
    [
        (SMALL_RAM, Wanted(checkpoint=MINI), "the program needs 1.9 GB of free memory"),
        (OLD_DRIVER, Wanted("gpu", checkpoint=MINI), "driver on your system is too old"),
        (RTX_3070, Wanted("gpu", checkpoint=MINI), "needs 9.2 GB"),
        (replace(NO_GPU, system="Windows"), Wanted(checkpoint=MINI), "WSL 2"),
        (replace(NO_GPU, python=(3, 13, 0)), Wanted(checkpoint=MINI), "Python 3.11 or 3.12 (this is 3.13.0)"),
    ],
)
def test_a_machine_that_cannot_is_told_what_to_do(machine: Machine, wanted: Wanted, said: str) -> None:
    found = lines(machine, wanted)
    assert not met(found)
    assert said in report(found)
    assert all(line.remedy for line in found if line.state == "missing")


def test_models_to_come_need_room_on_the_disk() -> None:
    text = report(lines(A4500, fetched=False))
    assert "later   model voxtral: to be fetched, 9370 MB, from the hub (mistralai/Voxtral-Mini-3B-2507)" in text
    assert "-> `voxtral-voice models fetch`" in text
    assert met(lines(A4500, fetched=False))
    full = replace(A4500, disk_free_bytes=5 * GIB)
    assert met(lines(full))
    assert not met(lines(full, fetched=False))
    assert "VOXTRAL_MODELS_DIR" in report(lines(full, fetched=False))


def test_without_the_hub_the_packaged_voice_serves_unless_another_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    chosen = {"models.directory": str(tmp_path), "engines.profile": "cpu", "engines.synthesizer": "kokoro"}
    said = report(choice.requirements_of(config.load(environ={}, overrides=chosen)))
    assert "Without the hub the weights of kokoro_onnx serve" in said
    named = {**chosen, "models.kokoro": "acme/my-kokoro"}
    said = report(choice.requirements_of(config.load(environ={}, overrides=named)))
    assert "from the hub (acme/my-kokoro)" in said
    assert "Without the hub" not in said


def test_packages_are_held_against_the_pins(tmp_path: Path) -> None:
    assert [line.state for line in installed_packages()] == ["ok"], report(installed_packages())
    pins = tmp_path / "requirements.txt"
    pins.write_text("# a comment\nnumpy==1.0\npytest==" + pytest.__version__ + "\n")
    kept, other = installed_packages(tmp_path)
    assert (kept.state, other.state) == ("ok", "absent")
    assert "numpy" in other.text
    (tmp_path / "requirements-cuda12.txt").write_text(f"numpy=={np.__version__}\n")
    assert [line.state for line in installed_packages(tmp_path)] == ["ok"]
    pins.write_text("no-such-package-of-ours==1.0\n")
    (lacking,) = installed_packages(tmp_path)
    assert lacking.state == "missing"
    assert "no-such-package-of-ours" in lacking.text


def test_without_the_list_of_pins_the_package_itself_says_what_it_needs(tmp_path: Path) -> None:
    (line,) = installed_packages(tmp_path)
    assert line.state == "ok", line


def test_the_command_says_what_runs_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    settings = config.load(environ={})
    expected = choice.requirements_of(settings)
    code = cli.main(["verify"])
    said = capsys.readouterr().out
    assert code == (0 if met(expected) else 1)
    assert "profile " in said.splitlines()[-1]


def test_the_command_fails_for_a_folder_that_holds_no_voxtral(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_voxtral(tmp_path / "mine")
    monkeypatch.setenv("VOXTRAL_MODELS__VOXTRAL", str(folder))
    monkeypatch.setenv("VOXTRAL_ENGINES__UNDERSTANDER", "voxtral")
    assert cli.main(["verify", "--profile", "cpu"]) == 0
    assert f"model voxtral: {folder} (local folder)" in capsys.readouterr().out
    put_config(folder, num_hidden_layers=3)
    assert cli.main(["verify", "--profile", "cpu"]) == 1
    assert f"{folder} holds no Voxtral that can be read: the weights lack " in capsys.readouterr().out
    put_config(folder)
    (folder / "tekken.json").write_text("{}")
    assert cli.main(["verify", "--profile", "cpu"]) == 1
    assert "tekken.json holds no config" in capsys.readouterr().out
    (folder / "model.safetensors").unlink()
    assert cli.main(["verify", "--profile", "cpu"]) == 1
    assert "lacks model.safetensors" in capsys.readouterr().out


# Before anything is installed.


def run(
    folder: Path, *arguments: str, python: str = sys.executable, **environ: str
) -> subprocess.CompletedProcess[str]:
    """verify_requirements.py under a Python that has no packages."""
    base = str(Path(sys.executable).resolve())  # the one that this environment was made with
    command = [base, "-I", "-S", str(folder / "verify_requirements.py")]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)


@pytest.fixture(name="bare")
def copy_without_packages(tmp_path: Path) -> Path:
    """The script and the source, and nothing that runs them."""
    shutil.copy(ROOT / "verify_requirements.py", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_bare_python_says_which_profile_will_run(bare: Path) -> None:
    done = run(bare, VOXTRAL_PROFILE="cpu", VOXTRAL_MODELS_DIR=str(bare / "models"))
    assert done.returncode == 0, done.stderr
    assert "later   packages: about 3 GB, not installed yet" in done.stdout
    assert "model kokoro_onnx: to be fetched, 92 MB, from packages" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ok      profile cpu")
    assert not done.stderr


def test_a_bare_python_on_a_machine_with_a_gpu(bare: Path) -> None:
    smi = bare / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 24100, 580.65.06, 8.9'\n")
    smi.chmod(0o755)
    path = f"{smi.parent}:{os.environ['PATH']}"
    done = run(bare, PATH=path, VOXTRAL_MODELS_DIR=str(bare / "models"))
    assert "GPU: NVIDIA GeForce RTX 4090, 25.3 of 25.8 GB are free" in done.stdout
    assert "profile gpu (Voxtral, Kokoro on torch)" in done.stdout


def test_where_nothing_can_run_the_exit_code_says_so(bare: Path) -> None:
    done = run(bare, VOXTRAL_PROFILE="gpu", PATH="/usr/bin:/bin")
    assert done.returncode == 1
    assert "-> Set engines.profile to cpu or auto" in done.stdout
    assert run(bare, VOXTRAL_PROFILE="tpu").returncode == 1


def test_settings_that_nobody_reads_yet_are_named(bare: Path) -> None:
    done = run(
        bare,
        VOXTRAL_PROFILE="cpu",
        VOXTRAL_MODELS_DIR=str(bare / "models"),
        VOXTRAL_CONFIG="/my/config.yaml",
        VOXTRAL_ENGINES__SYNTHESIZER="kokoro",
        VOXTRAL_SERVER__PORT="",
    )
    first, second = done.stderr.splitlines()
    assert first == "nothing is installed yet, so these are not read: VOXTRAL_CONFIG VOXTRAL_ENGINES__SYNTHESIZER"
    assert "leaves them out" in second


def test_once_it_is_installed_the_script_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "verify_requirements.py"), "--profile", "tpu"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2
    assert "usage: voxtral-voice verify" in done.stderr


def test_the_pythons_are_those_of_the_package() -> None:
    script = (ROOT / "verify_requirements.py").read_text(encoding="utf-8")
    assert f"SUPPORTED = {requirements.PYTHONS}" in script
