"""A checkpoint of Voxtral as transformers writes it: taken when it is whole, and refused by name when it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxtral_voice.engines.voxtral.checkpoint import load
from voxtral_voice.engines.voxtral.tokens import Tokens
from voxtral_voice.models import checkpoint as files
from voxtral_voice.models.tensors import misfit
from voxtral_voice.types import VoiceError


@pytest.fixture(name="folder")
def copy_to_damage(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "mine"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    written = json.loads((folder / "config.json").read_text())
    change(written)
    (folder / "config.json").write_text(json.dumps(written))


def test_a_whole_one_is_what_its_config_asks_for(checkpoint: Path) -> None:
    assert misfit(files.dimensions(checkpoint), files.shapes(checkpoint)) == ""
    files.check_vocabulary(checkpoint)
    model = load(checkpoint, "cpu", "auto")
    assert len(model.model.language_model.layers) == files.dimensions(checkpoint).layers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["text_config"].update(num_hidden_layers=3), "the weights lack model.language_model.layers.2."),
        (lambda c: c["text_config"].update(num_hidden_layers=1), "does not know: model.language_model.layers.1."),
        (lambda c: c["audio_config"].update(num_hidden_layers=3), "the weights lack model.audio_tower.layers.2."),
        (lambda c: c["text_config"].update(vocab_size=8008), "shapes of config.json: lm_head.weight"),
        (lambda c: c.update(model_type="llama"), 'model_type is "llama" and should be "voxtral"'),
        (lambda c: c.pop("model_type"), 'model_type is null and should be "voxtral"'),
        (lambda c: c.pop("text_config"), "config.json holds no text_config"),
        (lambda c: c.pop("audio_config"), "config.json holds no audio_config"),
    ],
)
def test_one_that_would_be_filled_up_with_random_numbers_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(VoiceError) as refused:
        load(folder, "cpu", "auto")
    assert refused.value.code == "model_failed"
    assert str(folder) in refused.value.message
    assert said in refused.value.message


@pytest.mark.parametrize(
    "written",
    ["hello", "{}", "[]", '{"config": {}, "vocab": [], "special_tokens": []}', '{"config": 5, "vocab": "words"}'],
)
def test_a_damaged_vocabulary_is_named(folder: Path, written: str) -> None:
    (folder / "tekken.json").write_text(written)
    with pytest.raises(ValueError, match=r"mine/tekken\.json is no vocabulary of a Voxtral") as refused:
        Tokens(folder)
    assert "\n" not in str(refused.value)


def test_a_vocabulary_without_voxtrals_markers_is_not_its_own(folder: Path) -> None:
    written = json.loads((folder / "tekken.json").read_text())
    for token in written["special_tokens"]:
        token["token_str"] = token["token_str"].replace("[AUDIO]", "[NOISE]")
    (folder / "tekken.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=r"tekken\.json is no vocabulary of a Voxtral \(.*AUDIO"):
        Tokens(folder)
