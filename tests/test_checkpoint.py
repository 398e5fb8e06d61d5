"""What a checkpoint consists of, how big it is, and which of its files are broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest

from checkpoint_examples import AUDIO, TEXT, put_config, put_safetensors, put_voxtral
from loopback import Loopback
from store_examples import make_store, serve_loopback
from voxtral_voice import config
from voxtral_voice.models import checkpoint, places
from voxtral_voice.models.catalog import MODELS
from voxtral_voice.models.checkpoint import MINI_3B, PUBLISHED
from voxtral_voice.models.store import ModelUnavailable, from_config
from voxtral_voice.models.tensors import expected, misfit

__all__ = ["serve_loopback"]  # the fixture "server"


def test_the_dimensions_give_the_parameters_of_the_real_model() -> None:
    parts = (MINI_3B.encoder, MINI_3B.adapter, MINI_3B.embedding, MINI_3B.decoder)
    assert parts == (636_968_960, 25_165_824, 402_653_184, 3_208_829_952)
    assert MINI_3B.parameters == 4_676_271_104
    assert MINI_3B.kv_values * 2 == 122_880  # bytes a token in bf16
    assert PUBLISHED["mistralai/Voxtral-Small-24B-2507"].parameters == pytest.approx(24.3e9, rel=0.01)


def test_dimensions_are_read_from_the_folder_and_those_not_named_are_the_real_models(tmp_path: Path) -> None:
    found = checkpoint.dimensions(put_voxtral(tmp_path / "tiny"))
    assert (found.hidden, found.layers, found.vocabulary) == (64, 2, TEXT["vocab_size"])
    assert (found.audio_hidden, found.positions) == (AUDIO["hidden_size"], MINI_3B.positions)
    put_config(tmp_path / "tiny", hidden_size="wide")
    with pytest.raises(ValueError, match=r"config\.json: hidden_size must be whole numbers"):
        checkpoint.dimensions(tmp_path / "tiny")
    (tmp_path / "tiny/config.json").write_text("[1")
    with pytest.raises(ValueError, match=r"config\.json"):
        checkpoint.dimensions(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"model_type": "llama"}, 'model_type is "llama" and should be "voxtral"'),
        ({}, 'model_type is null and should be "voxtral"'),
        ({"model_type": "voxtral", "audio_config": {}}, "config.json holds no text_config"),
        ({"model_type": "voxtral", "text_config": {}}, "config.json holds no audio_config"),
    ],
)
def test_what_config_json_does_not_say_is_not_taken_for_the_full_size_model(
    tmp_path: Path, written: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=re.escape(said)):
        checkpoint.dimensions(tmp_path)


def test_the_real_model_is_of_as_many_parameters_as_its_tensors_hold() -> None:
    assert sum(prod(shape) for shape in expected(MINI_3B).values()) == MINI_3B.parameters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"num_hidden_layers": 3}, r"the weights lack language_model\.layers\.2\.\S+, \S+, \S+ and 6 more"),
        ({"num_hidden_layers": 1}, r"layers that config.json does not know: language_model\.layers\.1\."),
        ({"vocab_size": 8008}, r"language_model.embed_tokens.weight is \[8000, 64\] and should be \[8008, 64\]"),
    ],
)
def test_weights_that_are_not_those_of_config_json_are_named(tmp_path: Path, text: dict[str, int], said: str) -> None:
    folder = put_voxtral(tmp_path / "other", shards=2)
    put_config(folder, **text)
    assert re.search(said, misfit(checkpoint.dimensions(folder), checkpoint.shapes(folder)))


def test_a_head_that_is_the_embedding_is_held_once() -> None:
    shapes = expected(MINI_3B)
    del shapes["language_model.lm_head.weight"]
    assert misfit(MINI_3B, shapes, tied=True) == ""
    assert "lm_head.weight" in misfit(MINI_3B, shapes)


@pytest.mark.parametrize(
    ("written", "said"),
    [("hello", "tekken.json: "), ("[]", "holds no settings"), ("{}", "no config"), ('{"config": {}}', "no vocab")],
)
def test_a_vocabulary_that_is_none_is_noticed(tmp_path: Path, written: str, said: str) -> None:
    folder = put_voxtral(tmp_path / "mine")
    checkpoint.check_vocabulary(folder)
    (folder / "tekken.json").write_text(written)
    with pytest.raises(ValueError, match=said):
        checkpoint.check_vocabulary(folder)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_whole_checkpoint_lacks_nothing(tmp_path: Path, shards: int) -> None:
    folder = put_voxtral(tmp_path / "whole", shards=shards)
    (folder / "consolidated.safetensors").write_bytes(b"another layout, not looked at")
    assert checkpoint.missing(folder) == ""
    parameters = sum(prod(shape) for shape in checkpoint.shapes(folder).values())
    assert checkpoint.size_bytes(folder) == pytest.approx(2 * parameters, rel=0.01)
    assert misfit(checkpoint.dimensions(folder), checkpoint.shapes(folder)) == ""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


SECOND = "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
BROKEN: dict[str, tuple[int, Callable[[Path], object], str]] = {
    "no weights": (1, lambda at: (at / "model.safetensors").unlink(), "lacks model.safetensors"),
    "a missing shard": (2, lambda at: (at / SECOND).unlink(), f"lacks {SECOND}"),
    "a shard that broke off": (2, lambda at: cut(at / SECOND), f"{SECOND} has "),
    "an empty file": (1, lambda at: (at / "model.safetensors").write_bytes(b""), "is no safetensors file"),
    "a web page": (1, lambda at: (at / "model.safetensors").write_text("<html>not found</html>"), "no safetensors"),
    "no index": (2, lambda at: (at / INDEX).unlink(), f"lacks {INDEX}"),
    "an index of nothing": (2, lambda at: (at / INDEX).write_text("{}"), f"{INDEX} names no files"),
    "an index of elsewhere": (
        2,
        lambda at: (at / INDEX).write_text('{"weight_map": {"a": "../secret"}}'),
        "not beside it",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_missing_or_cut_off_is_named(tmp_path: Path, name: str) -> None:
    shards, damage, said = BROKEN[name]
    folder = put_voxtral(tmp_path / "broken", shards=shards)
    damage(folder)
    assert said in checkpoint.missing(folder)
    assert said in places.missing(MODELS["voxtral"], folder, pinned=False)


def test_mistrals_own_layout_alone_is_refused_by_name(tmp_path: Path) -> None:
    folder = put_voxtral(tmp_path / "theirs")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert "consolidated.safetensors is another layout" in checkpoint.missing(folder)


def test_a_folder_of_the_users_is_used_as_it_is(tmp_path: Path) -> None:
    folder = put_voxtral(tmp_path / "mine")
    store = from_config(config.load(environ={}, overrides={"models.voxtral": str(folder)}))
    assert store.fetch("voxtral") == folder
    (folder / "tekken.json").unlink()
    file = from_config(config.load(environ={}, overrides={"models.voxtral": str(folder / "config.json")}))
    with pytest.raises(ModelUnavailable, match="this is a file, not a folder"):
        file.fetch("voxtral")
    with pytest.raises(ModelUnavailable, match=r"models\.voxtral names a folder .* lacks tekken\.json"):
        store.locate("voxtral")


def test_an_id_picks_another_repository_which_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    chosen = {
        "models.directory": str(tmp_path),
        "models.voxtral": "mistralai/Voxtral-Small-24B-2507",
        "models.whisper_english": "Systran/faster-whisper-small.en",
    }
    store = from_config(config.load(environ={}, overrides=chosen))
    put_voxtral(tmp_path / "voxtral")  # the one that is usual
    assert store.locate("voxtral") is None
    put_voxtral(tmp_path / "mistralai--Voxtral-Small-24B-2507", shards=2)
    assert store.locate("voxtral") == tmp_path / "mistralai--Voxtral-Small-24B-2507"
    assert store.catalog["voxtral"].repo == "mistralai/Voxtral-Small-24B-2507"
    assert store.catalog["voxtral"].size_bytes == 0  # nobody knows yet
    english = store.catalog["whisper_english"]
    assert english.repo == "Systran/faster-whisper-small.en"
    assert all(file.sha256 is None for file in english.files)
    assert len(english.sources) == 1, "the packages hold another model"


def test_from_the_hub_come_the_weights_once(tmp_path: Path, server: Loopback) -> None:
    model = MODELS["voxtral"]
    original = put_voxtral(tmp_path / "original", shards=2)
    put_safetensors(original / "consolidated.safetensors", 4000)
    (original / "params.json").write_text("{}")
    server.put_on_hub(model.repo, {path.name: path.read_bytes() for path in original.iterdir()})
    folder = make_store(tmp_path, server, model).fetch("voxtral")
    assert folder == tmp_path / "store/voxtral"
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "config.json",
        "model-00001-of-00002.safetensors",
        SECOND,
        INDEX,
        "tekken.json",
    ]
