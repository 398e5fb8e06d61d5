from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model_fixtures import model_folder
from voxtral_voice.engines import kokoro_weights
from voxtral_voice.engines.kokoro_weights import ORIGINAL, PACKAGED, load
from voxtral_voice.types import VoiceError

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged weights as the hub has them: with weight norm, one dictionary a module, saved in parallel."""
    weights = load(model_folder("kokoro_onnx")).state_dict()
    saved: dict[str, dict[str, torch.Tensor]] = {}
    for name in kokoro_weights._empty(kokoro_weights._SHAPE).state_dict():
        if ".norm." in name or "pooler" in name:
            continue
        stem, _, kind = name.rpartition(".")
        if kind in ("weight_g", "weight_v"):
            weight = weights[f"{stem}.weight"]
            norm = weight.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            # Some rows are zeros after 8 bits: they have a length of 0 and any direction.
            tensor = norm if kind == "weight_g" else torch.where(norm == 0, torch.ones_like(weight), weight)
        else:
            tensor = weights[name]
        module, _, rest = name.partition(".")
        saved.setdefault(module, {})[f"module.{rest}"] = tensor
    folder = tmp_path_factory.mktemp("Kokoro-82M")
    torch.save(saved, folder / ORIGINAL)
    (folder / "config.json").write_text(json.dumps(dict(kokoro_weights._SHAPE)), encoding="utf-8")
    return folder


def test_the_hubs_folder_gives_the_same_network(hub_folder: Path) -> None:
    wanted, found = load(model_folder("kokoro_onnx")).state_dict(), load(hub_folder).state_dict()
    assert found.keys() == wanted.keys()
    assert sum(weight.numel() for weight in found.values()) > 81_000_000
    for name, weight in found.items():
        torch.testing.assert_close(weight, wanted[name], msg=name)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("file", [PACKAGED, ORIGINAL])
def test_a_damaged_file_is_told_apart(hub_folder: Path, tmp_path: Path, file: str, share: float) -> None:
    whole = (hub_folder if file == ORIGINAL else model_folder("kokoro_onnx")) / file
    (tmp_path / file).write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    (tmp_path / "config.json").write_bytes((hub_folder / "config.json").read_bytes())
    with pytest.raises(VoiceError, match="no usable Kokoro") as refused:
        load(tmp_path)
    assert refused.value.code == "model_failed"


def test_a_checkpoint_of_another_model_is_told_apart(hub_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((hub_folder / "config.json").read_bytes())
    torch.save({"bert": {"module.something.weight": torch.zeros(3)}}, tmp_path / ORIGINAL)
    with pytest.raises(VoiceError, match="are missing"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(VoiceError, match="no usable Kokoro"):
        load(tmp_path)


def test_reading_weights_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    load(model_folder("kokoro_onnx"))
    assert torch.equal(torch.get_rng_state(), before)
