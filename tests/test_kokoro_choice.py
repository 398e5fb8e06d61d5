from __future__ import annotations

import gc
import json
import logging
from pathlib import Path

import pytest

from model_fixtures import model_folder
from voxtral_voice import __version__, config
from voxtral_voice.engines.kokoro_choice import Name, faster
from voxtral_voice.engines.kokoro_onnx import OnnxBuild
from voxtral_voice.engines.kokoro_torch import TorchBuild

pytestmark = pytest.mark.models


def choose(remember: Path, threads: int) -> Name:
    return faster(model_folder("kokoro_onnx"), model_folder("kokoro_voices"), config.load().voice, threads, remember)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answer for one thread, kept where a damaged one was."""
    remember = tmp_path_factory.mktemp("measured") / "kokoro.json"
    remember.write_text('{"situation": ', encoding="utf-8")
    name = choose(remember, 1)
    kept = json.loads(remember.read_text(encoding="utf-8"))
    assert kept["faster"] == name == min(kept["seconds"], key=kept["seconds"].__getitem__)
    return remember


def test_what_is_measured_is_kept_and_the_models_are_let_go(measured: Path) -> None:
    kept = json.loads(measured.read_text(encoding="utf-8"))
    assert set(kept["seconds"]) == {"kokoro", "kokoro-onnx"}
    assert all(0.05 < seconds < 60 for seconds in kept["seconds"].values())
    assert (kept["situation"]["threads"], kept["situation"]["program"]) == (1, __version__)
    assert list(measured.parent.iterdir()) == [measured]
    assert not any(isinstance(each, TorchBuild | OnnxBuild) for each in gc.get_objects())


def test_an_answer_that_is_there_is_taken_as_it_is(
    measured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = json.loads(measured.read_text(encoding="utf-8"))
    for name, library in (("kokoro", "torch"), ("kokoro-onnx", "onnxruntime")):
        remember = tmp_path / f"{name}.json"
        text = json.dumps(kept | {"faster": name, "seconds": {"kokoro": 1.25, "kokoro-onnx": 2.5}})
        remember.write_text(text, encoding="utf-8")
        with caplog.at_level(logging.INFO):
            assert choose(remember, 1) == name
        assert f"Kokoro runs on {library} here, torch takes 1.25 s, onnxruntime takes 2.50 s" in caplog.text
        assert remember.read_text(encoding="utf-8") == text


@pytest.mark.slow
@pytest.mark.parametrize("other", [{"threads": 2}, {"program": "0.0.9"}], ids=["other threads", "an earlier version"])
def test_what_was_measured_elsewhere_is_measured_anew(measured: Path, tmp_path: Path, other: dict[str, object]) -> None:
    kept = json.loads(measured.read_text(encoding="utf-8"))
    remember = tmp_path / "below" / "kokoro.json"
    remember.parent.mkdir()
    elsewhere = {"situation": kept["situation"] | other, "seconds": {"kokoro": 0.0, "kokoro-onnx": 0.0}}
    remember.write_text(json.dumps(kept | elsewhere), encoding="utf-8")
    name = choose(remember, 1)
    anew = json.loads(remember.read_text(encoding="utf-8"))
    assert anew["situation"] == kept["situation"]
    assert anew["faster"] == name
    assert min(anew["seconds"].values()) > 0.05
