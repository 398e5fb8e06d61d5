"""Where a model lies on this machine, and what the commands say of it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from loopback import Loopback
from store_examples import (
    HUB_WEIGHTS,
    PACKAGED,
    WEIGHTS,
    make_store,
    put_folder,
    put_packages,
    serve_loopback,
)
from voxtral_voice import config
from voxtral_voice.models.catalog import MODELS, Packages
from voxtral_voice.models.commands import fetch_models, list_models
from voxtral_voice.models.store import ModelUnavailable, from_config

__all__ = ["serve_loopback"]  # the fixture "server"


def test_a_configured_folder_wins_over_everything(tmp_path: Path, server: Loopback) -> None:
    own = put_folder(tmp_path / "mine", weights=b"my own build")
    put_folder(tmp_path / "image" / "tiny")
    store = make_store(tmp_path, server, own=own)
    assert store.locate("tiny") == own == store.fetch("tiny")


def test_a_configured_folder_that_lacks_a_file_is_an_error(tmp_path: Path, server: Loopback) -> None:
    own = put_folder(tmp_path / "mine")
    (own / "model.bin").unlink()
    put_folder(tmp_path / "image" / "tiny")
    store = make_store(tmp_path, server, own=own)
    for look in (store.locate, store.fetch):
        with pytest.raises(ModelUnavailable, match=r"models\.tiny.*mine: lacks model\.bin"):
            look("tiny")


def test_the_order_of_places(tmp_path: Path, server: Loopback) -> None:
    repo = "models--acme--tiny"
    user_cache = put_folder(tmp_path / "hf/hub" / repo / "snapshots/abc", HUB_WEIGHTS)
    runpod = put_folder(tmp_path / "runpod" / repo / "snapshots/def", HUB_WEIGHTS)
    in_store = put_folder(tmp_path / "store/tiny")
    image = put_folder(tmp_path / "image/tiny")
    store = make_store(tmp_path, server, HF_HOME=str(tmp_path / "hf"))
    for folder, origin in (
        (image, "image"),
        (in_store, "store"),
        (runpod, "RunPod cache"),
        (user_cache, "Hugging Face cache"),
    ):
        found = store.find("tiny")
        assert found is not None
        assert (found.path, found.origin) == (folder, origin)
        shutil.rmtree(folder)
    assert store.find("tiny") is None


def test_in_a_cache_the_named_revision_comes_first(tmp_path: Path, server: Loopback) -> None:
    repo = tmp_path / "runpod/models--acme--tiny"
    named = put_folder(repo / "snapshots/abc", HUB_WEIGHTS)
    put_folder(repo / "snapshots/newer", HUB_WEIGHTS)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text("abc")
    os.utime(named, (0, 0))
    assert make_store(tmp_path, server).locate("tiny") == named


def test_a_truncated_model_is_fetched_again(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    put_folder(tmp_path / "store/tiny", weights=WEIGHTS[:1000])
    store = make_store(tmp_path, server, PACKAGED)
    assert store.locate("tiny") is None
    assert "model.bin has 1000 bytes" in next(
        place.missing for place in store.sources("tiny") if "store" in place.origin
    )
    assert (store.fetch("tiny") / "model.bin").read_bytes() == WEIGHTS


def test_a_disk_without_room_is_said_before_the_download(
    tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_packages(server)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(ModelUnavailable, match="0 MiB free"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")
    assert server.requests == []


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(ModelUnavailable, match=f"cannot write {tmp_path}/store"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")


# The catalogue and the commands.


def test_every_model_of_the_catalogue_has_a_key_in_the_settings() -> None:
    keys = set(config.Models.model_fields) - {"directory", "hub_timeout_s"}
    assert set(MODELS) == keys
    assert from_config(config.load(environ={})).catalog is MODELS


def test_every_file_of_the_catalogue_comes_out_of_its_packages() -> None:
    packaged = [model for model in MODELS.values() if any(isinstance(source, Packages) for source in model.sources)]
    assert len(packaged) >= 7
    assert {model.name for model in MODELS.values()} - {model.name for model in packaged} == {"voxtral", "kokoro"}
    for model in packaged:
        names = {file.name for file in model.files}
        assert all(file.size_bytes and file.sha256 for file in model.files)
        for source in model.sources:
            if isinstance(source, Packages):
                assert {name for package in source.packages for _, name in package.members} == names


def test_list_and_fetch_say_what_is_where(
    tmp_path: Path, server: Loopback, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store(tmp_path, server, PACKAGED)
    assert "not fetched" in list_models(store)
    assert fetch_models(store, ["tiny", "huge"]) == 1
    said = capsys.readouterr().err
    assert "not fetched: tiny, huge" in said
    assert "there is no model 'huge'; there are tiny" in said

    put_packages(server)
    with caplog.at_level(logging.INFO):
        assert fetch_models(store, []) == 0
    assert str(tmp_path / "store/tiny") in capsys.readouterr().err
    assert "tiny-part1 1.0: downloading 0.6 MB" in caplog.text
    assert f"{tmp_path}/store/tiny (store)" in list_models(store)
