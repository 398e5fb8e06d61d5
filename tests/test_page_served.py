"""The web page over HTTP: what is sent, to whom, and with which headers. The pure parts of it run in Node."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from realtime_server import serving
from voxtral_voice.server import pages

WEB = Path(__file__).parent / "web"
ROOT = WEB.parents[1]


async def test_a_browser_gets_the_page_and_a_program_the_addresses() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        page = await http.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "<title>Voxtral Voice" in page.text
        listed = await http.get("/", headers={"Accept": "application/json"})
        assert listed.json()["realtime"] == "/v1/realtime"
        head = await http.head("/")
        assert (head.status_code, head.content) == (200, b"")


async def test_every_file_that_the_page_names_is_served_with_its_kind() -> None:
    async with serving(key="a-secret") as server, httpx.AsyncClient(base_url=server.url) as http:
        html = (await http.get("/")).text
        linked = re.findall(r'(?:href|src)="([^"]+)"', html)
        assert {"web/app.js", "web/style.css", "web/icon.svg"} <= set(linked)
        seen, todo = set(), [f"/{each}" for each in linked]
        while todo:
            path = todo.pop()
            answer = await http.get(path)
            assert answer.status_code == 200, path
            kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[path.rpartition(".")[2]]
            assert answer.headers["content-type"].startswith(kind)
            seen.add(path)
            imported = re.findall(r"(?:from|here\(|import\()\s*'(?:\./)?([\w.]+\.js)'", answer.text)
            todo += [name for each in imported if (name := f"/web/{each}") not in seen]
        assert seen == set(pages.files()) - {"/"}, "a file of the page is not used, or one that is used is missing"


async def test_nothing_can_run_in_the_page_but_its_own_files() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        for path in ("/", "/web/app.js"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
    html = (pages.FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", html)
    for file in pages.FOLDER.glob("*.js"):
        code = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", code), file.name


async def test_an_unchanged_file_is_not_sent_again() -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        first = await http.get("/web/app.js")
        again = await http.get("/web/app.js", headers={"If-None-Match": f"W/{first.headers['etag']}"})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "no-cache"
        other = await http.get("/web/app.js", headers={"If-None-Match": '"another"'})
        assert other.status_code == 200


@pytest.mark.parametrize("path", ["/web/nothing.js", "/web/..%2f__init__.py", "/web/%2e%2e/__init__.py", "/web/"])
async def test_nothing_else_is_served(path: str) -> None:
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get(path)).status_code in (401, 404)


def test_the_page_is_small_and_comes_from_nowhere_else() -> None:
    sizes = {path.name: path.stat().st_size for path in pages.FOLDER.iterdir()}
    assert sum(sizes.values()) < 120_000, sizes
    for path in pages.FOLDER.iterdir():
        addresses = set(re.findall(r"https?://[\w./-]+", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://localhost"}, path.name


def test_a_wheel_holds_the_page(tmp_path: Path) -> None:
    for tool in ("hatchling", "trove_classifiers"):
        pytest.importorskip(tool, reason=f"{tool} is not installed: pip brings it only while it builds")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"voxtral_voice/web/{path.name}" for path in pages.FOLDER.iterdir()} <= names


def test_the_pure_parts_do_what_they_say() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on this machine")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"Node {version.strip()} is older than 20")
    done = subprocess.run(
        [node, "--test", *map(str, sorted(WEB.glob("*.test.mjs")))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_in_the_comments_are_right() -> None:
    """`TSC=path` names the compiler; `npm install --global typescript` brings it."""
    import os

    tsc = os.environ.get("TSC") or shutil.which("tsc")
    if tsc is None:
        pytest.skip("no TypeScript compiler on this machine")
    done = subprocess.run([tsc, "-p", str(WEB / "tsconfig.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
