"""One file over HTTP: resumed, retried, checked.

An unfinished download stays beside its target as `NAME.part` and is taken up again with a Range request, also by a
later process. The target itself appears only when it is complete and its hash is right.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

log = logging.getLogger(__name__)

ATTEMPTS = 3
_BACKOFF_S = 1.0
_CHUNK_BYTES = 1 << 18
# A connection that brought at least this much was a working one: the next failure counts from one again.
_WORTHWHILE_BYTES = 1 << 20
# Room beyond the files themselves that is left to everyone else on the disk.
_SPARE_BYTES = 32 << 20

OnBytes = Callable[[int], None]
"""Told how many bytes of the file are there, after each chunk."""
OnProgress = Callable[[int, int], None]
"""Told how many bytes of a source are there, of how many."""


class SourceFailed(Exception):
    """A source cannot give the model; the message is one line that says why."""


class DiskFull(SourceFailed):
    """No other source can help."""


class Damaged(SourceFailed):
    """What arrived is not what was promised."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's bytes must hash to."""

    algorithm: str
    """A name that hashlib knows, or "git": the id of a git blob, which the hub reports for small files."""
    hexdigest: str

    def check(self, path: Path) -> None:
        """Raises Damaged when the file is another one."""
        if self.algorithm == "git":
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        else:
            digest = hashlib.new(self.algorithm)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != self.hexdigest:
            name = path.name.removesuffix(".part")
            said = f"{self.algorithm} {digest.hexdigest()}, expected {self.hexdigest}"
            raise Damaged(f"{name} has the wrong hash: {said}")


@dataclass(frozen=True, slots=True)
class Remote:
    """Something to download."""

    url: str
    digest: Digest | None
    size_bytes: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def client() -> httpx.Client:
    """Trusts the system's certificates beside the bundled ones: proxies of companies are only in the former."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and Path(bundle).is_file():
        context.load_verify_locations(bundle)
    return httpx.Client(
        verify=context,
        follow_redirects=True,
        timeout=httpx.Timeout(30.0, connect=5.0),
        # Compressed on the way, a file could not be resumed in its middle.
        headers={"Accept-Encoding": "identity"},
    )


def download(http: httpx.Client, remote: Remote, target: Path, on_bytes: OnBytes) -> None:
    """Bring `remote` to `target`; does nothing when it is there already and right.

    Raises SourceFailed after ATTEMPTS failures in a row, or at once when trying again cannot help.
    """
    part = target.with_name(target.name + ".part")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            os.replace(target, part)
            if _is_good(remote, part):
                os.replace(part, target)
                on_bytes(_size(target))
                return
        failures = 0
        while True:
            before = _size(part)
            try:
                _continue(http, remote, part, on_bytes)
                _check(remote, part)
                os.replace(part, target)
                return
            except _Transient as error:
                gained = _size(part) - before
                failures = 1 if gained >= _WORTHWHILE_BYTES else failures + 1
                if failures >= ATTEMPTS:
                    raise SourceFailed(f"{error} ({ATTEMPTS} attempts)") from None
                log.warning("%s: %s; going on at byte %d", target.name, error, _size(part))
                time.sleep(_BACKOFF_S * 2 ** (failures - 1))
            except Damaged:
                part.unlink(missing_ok=True)
                # What another run left may be the culprit: one try from the beginning decides.
                if not before:
                    raise
                log.warning("%s: the unfinished download was damaged; beginning again", target.name)


def fetch_text(http: httpx.Client, url: str, accept: str) -> str:
    """A page of an index. Raises SourceFailed."""
    for attempt in range(ATTEMPTS):
        try:
            response = http.get(url, headers={"Accept": accept})
            _refuse(response)
            return response.text
        except (httpx.RequestError, httpx.InvalidURL, _Transient) as error:
            if attempt == ATTEMPTS - 1 or not isinstance(error, _WORTH_ANOTHER_TRY):
                raise SourceFailed(_describe(error, url)) from None
            time.sleep(_BACKOFF_S * 2**attempt)
    raise AssertionError("unreachable")


def require_space(folder: Path, size_bytes: int) -> None:
    """Raises DiskFull before anything is downloaded that would not fit."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes + _SPARE_BYTES:
        raise DiskFull(f"the disk of {folder} has {free >> 20} MiB free, {size_bytes + _SPARE_BYTES >> 20} are needed")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into SourceFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"the disk of {path.parent} is full") from error
        raise SourceFailed(f"cannot write {error.filename or path}: {error.strerror or error}") from error


def redact(url: str) -> str:
    """Without the password that an index's address may carry."""
    return re.sub(r"//[^/@]*@", "//", url)


class _Transient(Exception):
    """May go better the next time."""


_WORTH_ANOTHER_TRY = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    _Transient,
)


def _continue(http: httpx.Client, remote: Remote, part: Path, on_bytes: OnBytes) -> None:
    have = _size(part)
    if remote.size_bytes is not None and have > remote.size_bytes:
        raise Damaged(f"{part.name} is longer than the file")
    if have and have == remote.size_bytes:
        on_bytes(have)
        return
    headers = dict(remote.headers) | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with http.stream("GET", remote.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                # All of it was here already, or it is another file; the hash will tell.
                return
            _refuse(response)
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise Damaged(f"{redact(remote.url)}: answered with another range than asked for")
            done = have if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
                    done += len(chunk)
                    on_bytes(done)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        failure = _Transient if isinstance(error, _WORTH_ANOTHER_TRY) else SourceFailed
        raise failure(_describe(error, remote.url)) from None
    if remote.size_bytes is not None and done < remote.size_bytes:
        raise _Transient(f"{redact(remote.url)}: the connection ended at byte {done} of {remote.size_bytes}")


def _check(remote: Remote, part: Path) -> None:
    size = _size(part)
    if remote.size_bytes is not None and size != remote.size_bytes:
        raise Damaged(f"{part.stem} has {size} bytes, expected {remote.size_bytes}")
    if remote.digest:
        remote.digest.check(part)


def _is_good(remote: Remote, part: Path) -> bool:
    try:
        _check(remote, part)
    except Damaged:
        part.unlink()
        return False
    return remote.digest is not None or remote.size_bytes is not None


def _refuse(response: httpx.Response) -> None:
    status = response.status_code
    if status >= 500 or status in (408, 429):
        raise _Transient(f"{redact(str(response.url))}: HTTP {status}")
    if not response.is_success:
        raise SourceFailed(f"{redact(str(response.url))}: HTTP {status}")


def _describe(error: Exception, url: str) -> str:
    return str(error) if isinstance(error, _Transient) else f"{redact(url)}: {type(error).__name__}: {error}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
