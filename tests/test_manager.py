"""One set of models per process: chosen, fetched, loaded, warmed up, and what is said meanwhile."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from checkpoint_examples import put_config, put_voxtral
from machines import MINI, NO_GPU, RTX_4090
from model_fixtures import model_folder
from scripted import Script, script
from voxtral_voice import config
from voxtral_voice.config import Config
from voxtral_voice.engines.cascade import Cascade
from voxtral_voice.models.build import Workers
from voxtral_voice.models.choice import choose
from voxtral_voice.models.manager import ModelManager
from voxtral_voice.models.profile import Plan, Wanted, decide
from voxtral_voice.models.store import from_config
from voxtral_voice.models.warm_up import warm_up
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm, Voice, VoiceError


def settings(**overrides: object) -> Config:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return config.load(overrides=dotted, environ={})


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing listens where the hub should be, and its cache is empty."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no cache"))


async def test_a_gpu_that_is_demanded_and_not_there_is_refused_with_the_remedy() -> None:
    manager = ModelManager(settings(engines__profile="gpu"), facts=NO_GPU)
    assert manager.profile == "gpu"
    with pytest.raises(VoiceError, match="no NVIDIA GPU was found") as failure:
        await manager.load()
    assert failure.value.code == "model_failed"
    refused = manager.refusal()
    assert refused is not None
    assert (refused.code, refused.message) == ("model_failed", failure.value.message)
    assert "engines.profile to cpu or auto" in refused.message
    assert (manager.ready, manager.gpu) == (False, None)
    manager.close()


@pytest.mark.parametrize(("device", "shared"), [("cpu", True), ("cuda", False)])
def test_on_a_gpu_the_voice_does_not_wait_for_the_understander(device: str, shared: bool) -> None:
    profile: Literal["gpu", "cpu"] = "cpu" if device == "cpu" else "gpu"
    workers = Workers.start(Plan(profile, device, "voxtral", "kokoro", 0, ""), settings())
    assert (workers.understand is workers.speak) is shared
    assert len({workers.detect, workers.endpoint, workers.understand}) == 3
    workers.close()


def test_what_the_engines_hold_of_the_gpu_is_told() -> None:
    import torch  # as the engines have done by then

    manager = ModelManager(settings(), facts=RTX_4090)
    assert manager.gpu is None
    manager.plan = decide(Wanted(checkpoint=MINI), RTX_4090)  # type: ignore[assignment]
    held = torch.cuda.memory_allocated()
    assert manager.gpu == {
        "name": "NVIDIA GeForce RTX 4090",
        "total_bytes": RTX_4090.gpus[0].total_bytes,
        "allocated_bytes": held,
        "reserved_bytes": torch.cuda.memory_reserved(),
    }


def test_before_the_machine_has_been_looked_at_that_is_what_is_awaited() -> None:
    manager = ModelManager(settings(), facts=NO_GPU)
    refused = manager.refusal()
    assert refused is not None
    assert refused.code == "model_loading"
    assert "looking at the machine" in refused.message


@pytest.mark.models
async def test_a_voxtral_that_was_asked_for_and_cannot_be_had_ends_it(tmp_path: Path, no_hub: None) -> None:
    chosen = settings(models__directory=str(tmp_path), engines__profile="gpu", models__hub_timeout_s=1)
    manager = ModelManager(chosen, facts=RTX_4090)
    for name in ("silero", "smart_turn"):  # they come before it
        (tmp_path / name).symlink_to(model_folder(name))
    with pytest.raises(VoiceError, match=r"voxtral .* cannot be had"):
        await manager.load()
    assert manager.states["voxtral"].state == "failed"
    assert "is not reachable" in manager.states["voxtral"].detail
    manager.close()


@pytest.mark.slow
@pytest.mark.models
async def test_the_cpu_takes_over_and_torchs_kokoro_is_made_from_the_packaged_one(
    no_hub: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Where everything is left to us and the hub cannot be reached."""
    chosen = settings(engines__reply="template", engines__synthesizer="kokoro", models__hub_timeout_s=1)
    manager = ModelManager(chosen, facts=RTX_4090)
    with caplog.at_level(logging.INFO):
        await manager.load()
    try:
        assert manager.profile == "cpu"
        assert manager.plan is not None
        assert manager.plan.why.startswith("Voxtral could not be fetched")
        assert "kokoro" not in manager.states
        assert manager.states["kokoro_onnx"].state == "ready"
        assert "Its weights are taken from kokoro_onnx" in caplog.text
        assert type(manager.engines.synthesizer).__name__ == "KokoroTorch"
    finally:
        manager.close()
    assert not manager.ready


def test_the_size_of_a_repository_that_nobody_knows_is_read_from_what_was_fetched(tmp_path: Path) -> None:
    chosen = settings(models__directory=str(tmp_path), models__voxtral="acme/another-voxtral")
    asked = []

    def fetch(name: str) -> Path:
        asked.append(name)
        return put_voxtral(tmp_path / "acme--another-voxtral")

    plan = choose(chosen, from_config(chosen), fetch, RTX_4090)
    assert asked == ["voxtral"]
    assert (plan.profile, plan.understander) == ("gpu", "voxtral")
    assert plan.need_bytes < 3e9
    usual = settings(models__directory=str(tmp_path / "empty"))
    assert choose(usual, from_config(usual), fetch, RTX_4090).need_bytes > 13e9
    assert asked == ["voxtral"], "what is published need not be fetched to be known"


def test_a_folder_without_a_readable_config_is_refused(tmp_path: Path) -> None:
    folder = put_voxtral(tmp_path / "mine")
    (folder / "config.json").write_text("{")
    chosen = settings(models__voxtral=str(folder), engines__understander="voxtral")
    with pytest.raises(VoiceError, match=f"{re.escape(str(folder))} holds no Voxtral that can be read"):
        choose(chosen, from_config(chosen), from_config(chosen).fetch, NO_GPU)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"num_hidden_layers": 3}, "the weights lack language_model.layers.2."),
        ({"intermediate_size": 256}, "should be [256, 64]"),
    ],
)
def test_weights_of_another_model_than_its_config_says_are_refused(
    tmp_path: Path, text: dict[str, int], said: str
) -> None:
    folder = put_voxtral(tmp_path / "mine")
    chosen = settings(models__voxtral=str(folder), engines__understander="voxtral", engines__profile="cpu")
    assert choose(chosen, from_config(chosen), from_config(chosen).fetch, NO_GPU).understander == "voxtral"
    put_config(folder, **text)
    with pytest.raises(VoiceError, match=re.escape(said)) as refused:
        choose(chosen, from_config(chosen), from_config(chosen).fetch, NO_GPU)
    assert refused.value.code == "model_failed"
    assert str(folder) in refused.value.message


@pytest.mark.models
async def test_a_damaged_vocabulary_is_one_line_that_names_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put_voxtral(tmp_path / "mine")  # its tekken.json is laid out like one and holds no words
    chosen = settings(models__voxtral=str(folder), engines__understander="voxtral", engines__profile="cpu")
    manager = ModelManager(chosen, facts=NO_GPU)
    with caplog.at_level(logging.INFO), pytest.raises(VoiceError) as refused:
        await manager.load()
    manager.close()
    assert refused.value.code == "model_failed"
    assert f"{folder / 'tekken.json'} is no vocabulary of a Voxtral" in refused.value.message
    assert "\n" not in refused.value.message
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.models
async def test_what_fails_in_the_warm_up_is_told_by_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = ModelManager(settings(engines__reply="template", engines__profile="cpu"), facts=NO_GPU)

    def reply(*_: object) -> Iterator[object]:
        raise VoiceError("out_of_memory", "the device has no memory left")
        yield

    monkeypatch.setattr(Cascade, "reply", reply)
    with pytest.raises(VoiceError, match="the device has no memory left") as failure:
        await manager.load()
    manager.close()
    assert failure.value.code == "out_of_memory"
    refused = manager.refusal()
    assert refused is not None
    assert (refused.code, refused.message) == ("model_failed", "the device has no memory left")


# The warm-up: a real pass through everything.


@pytest.fixture
def parts() -> Iterator[Script]:
    made = script(sleep=lambda _: None)
    yield made
    for worker in made.workers:
        worker.close()
        worker.join(5)


async def test_warmth_is_a_turn_that_was_understood_answered_and_spoken(parts: Script) -> None:
    await warm_up(parts.engines, settings())
    assert parts.synthesizer.spoken[0] == "Hello, can you hear me?"
    assert parts.understander.seen
    assert "You said word" in " ".join(parts.synthesizer.spoken)


async def test_a_model_that_says_nothing_at_all_is_not_warm(parts: Script) -> None:
    parts.understander.answer = lambda said: ""
    for understands in (True, False):
        with pytest.raises(VoiceError, match="got no answer") as failure:
            await warm_up(parts.engines, settings(), understands=understands)
        assert failure.value.code == "model_failed"


async def test_nonsense_without_a_sound_will_do_for_random_weights_and_not_for_the_cascade(parts: Script) -> None:
    def speak(clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        if clause.startswith("Hello"):
            yield np.full(SPEAK_HZ, 0.3, np.float32)

    parts.synthesizer.speak = speak  # type: ignore[method-assign]
    await warm_up(parts.engines, settings(), understands=False)
    with pytest.raises(VoiceError, match="got no spoken answer"):
        await warm_up(parts.engines, settings(), understands=True)


async def test_a_voice_without_a_sound_or_that_is_taken_for_noise_is_not_warm(parts: Script) -> None:
    for level, said in ((0.01, "takes the voice for noise"), (None, "the voice says nothing")):

        def speak(clause: str, voice: Voice, cancel: Cancel, level: float | None = level) -> Iterator[Pcm]:
            if level is not None:
                yield np.full(SPEAK_HZ, level, np.float32)

        parts.synthesizer.speak = speak  # type: ignore[method-assign]
        with pytest.raises(VoiceError, match=said):
            await warm_up(parts.engines, settings(), understands=False)
