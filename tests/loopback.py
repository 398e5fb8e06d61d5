"""A server on 127.0.0.1 that stands in for the Hugging Face hub, PyPI and npm, and fails on request."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field

from local_server import LocalServer, QuietHandler

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Resource:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """Each answer uses up one entry: the connection is cut after so many bytes."""
    redirect: str = ""
    """Answer 302 to there instead."""
    stall: threading.Event | None = None
    """Set: what follows the first half waits until then."""


class Loopback(LocalServer):
    """`with Loopback() as server:`; put files with the methods, read `requests` afterwards."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.requests: list[tuple[str, str, str]] = []
        """(method, path, Range or "")"""
        self.tokens: dict[str, str] = {}
        """Path to the Authorization header last sent for it."""
        loopback = self

        class Handler(QuietHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                wanted = self.headers.get("Range", "")
                loopback.requests.append((self.command, self.path, wanted))
                loopback.tokens[self.path] = self.headers.get("Authorization", "")
                found = loopback.resources.get(self.path)
                if found is None:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if found.redirect:
                    self.send_response(302)
                    for name, value in (found.headers | {"Location": found.redirect, "Content-Length": "0"}).items():
                        self.send_header(name, value)
                    self.end_headers()
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(found.body) - 1}/{len(found.body)}")
                for name, value in found.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(found.body) - start))
                self.end_headers()
                if with_body:
                    self._send(found, start)

            def _send(self, found: Resource, start: int) -> None:
                body = found.body[start:]
                if found.breaks:
                    body = body[: found.breaks.pop(0)]
                half = len(body) // 2
                try:
                    self.wfile.write(body[:half])
                    if found.stall:
                        self.wfile.flush()
                        found.stall.wait(30)
                    self.wfile.write(body[half:])
                except (BrokenPipeError, ConnectionResetError):
                    pass

        super().__init__(Handler)

    @property
    def environ(self) -> dict[str, str]:
        """What makes a store ask this server instead of the real ones."""
        return {
            "HF_ENDPOINT": f"{self.url}/hub",
            "HF_HOME": "/nonexistent",
            "PIP_INDEX_URL": f"{self.url}/simple",
            "npm_config_registry": f"{self.url}/npm",
        }

    def ranges(self, path_end: str) -> list[str]:
        """The Range of each GET of a path, "" for a whole file."""
        return [wanted for method, path, wanted in self.requests if method == "GET" and path.endswith(path_end)]

    def put_on_hub(self, repo: str, files: dict[str, bytes], *, large: bool = True) -> None:
        """`large`: reported by sha256 as a file in large file storage is, else by its git id."""
        for name, body in files.items():
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(body)}"'}
            if large:
                headers |= {"X-Linked-Etag": f'"{sha256(body)}"', "X-Linked-Size": str(len(body))}
            for revision in ("main", COMMIT):
                self.resources[f"/hub/{repo}/resolve/{revision}/{name}"] = Resource(body, headers)
        listing = json.dumps({"siblings": [{"rfilename": name} for name in files]}).encode()
        self.resources[f"/hub/api/models/{repo}/revision/main"] = Resource(listing)

    def put_on_pypi(self, name: str, archive: str, members: dict[str, bytes], *, said_sha256: str = "") -> Resource:
        body = wheel(members)
        link = f'<a href="/files/{archive}#sha256={said_sha256 or sha256(body)}">{archive}</a>'
        self.resources[f"/simple/{name}/"] = Resource(f"<html><body>{link}</body></html>".encode())
        self.resources[f"/files/{archive}"] = Resource(body)
        return self.resources[f"/files/{archive}"]

    def put_on_npm(self, name: str, version: str, members: dict[str, bytes]) -> None:
        body = tarball(members)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(body).digest()).decode()
        where = f"/files/{name}-{version}.tgz"
        published = {"dist": {"tarball": self.url + where, "integrity": integrity}}
        self.resources[f"/npm/{name}/{version}"] = Resource(json.dumps(published).encode())
        self.resources[where] = Resource(body)


def wheel(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def tarball(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return out.getvalue()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def git_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
