"""Models from the Hugging Face hub, or from what HF_ENDPOINT names in its place."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx
from tqdm import tqdm

from voxtral_voice.models.catalog import Hub, Model
from voxtral_voice.models.download import (
    Digest,
    OnBytes,
    OnProgress,
    Remote,
    SourceFailed,
    disk_errors,
    download,
    redact,
    require_space,
)
from voxtral_voice.models.hub_cache import saved_token

log = logging.getLogger(__name__)

ENDPOINT = "https://huggingface.co"
_HEX = re.compile("[0-9a-f]+")
_STATUS = {401: "no such repository, or a private one (HF_TOKEN)", 403: "not allowed (HF_TOKEN)", 404: "not there"}
_REASONS = {
    "RepoNotFound": "no such repository, or a private one (HF_TOKEN)",
    "RevisionNotFound": "no such revision",
    "EntryNotFound": "no such file",
    "GatedRepo": "a gated repository: accept its terms on the hub and set HF_TOKEN",
}

Answer = TypeVar("Answer")


class _Found(NamedTuple):
    remote: Remote
    digest: Digest
    xet_commit: str
    """Of a file that the hub also serves in deduplicated chunks, else empty."""


class HubClient:
    """One hub for the life of a store: once found unreachable, it is not asked again.

    What is asked about files goes over our own client, whose every answer has a deadline; huggingface_hub does what
    only it can, the transfer in chunks.
    """

    def __init__(self, environ: Mapping[str, str], timeout_s: float) -> None:
        """`timeout_s` is how long the hub may take to say anything at all."""
        self.endpoint = (environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        self._offline = _is_true(environ, "HF_HUB_OFFLINE") or _is_true(environ, "TRANSFORMERS_OFFLINE")
        self._use_xet = not _is_true(environ, "HF_HUB_DISABLE_XET")
        self._token = environ.get("HF_TOKEN") or saved_token(environ)
        self._timeout_s = timeout_s
        self._unreachable = ""
        self._lock = threading.Lock()

    def bring(
        self, http: httpx.Client, source: Hub, model: Model, downloads: Path, folder: Path, on_bytes: OnProgress
    ) -> None:
        """Fill `folder` from the repository. Raises SourceFailed.

        A build that is not the catalog's is held against what the hub says of it: the sha256 of large files, the git
        id of small ones, and the size.
        """
        pinned = {file.name: file.sha256 for file in model.files if source.pinned}
        found = {
            name: self._describe(http, source, name, pinned.get(name)) for name in self._names(http, source, model)
        }
        total = sum(file.remote.size_bytes or 0 for file in found.values())
        require_space(downloads, total)
        targets: dict[str, Path] = {}
        done = 0
        for name, (remote, digest, xet_commit) in found.items():
            # The hash is in the path, so an older version's beginning is never continued with a newer one's end.
            targets[name] = downloads / digest.hexdigest / name
            on_file = partial(_add, on_bytes, done, total)
            if not (xet_commit and self._bring_by_xet(source, name, digest, xet_commit, targets[name], on_file)):
                download(http, remote, targets[name], on_file)
            done += targets[name].stat().st_size
        for name, target in targets.items():
            with disk_errors(folder):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(target, folder / name)

    def _names(self, http: httpx.Client, source: Hub, model: Model) -> Iterable[str]:
        if not source.patterns:
            return [file.name for file in model.files]
        url = f"{self.endpoint}/api/models/{source.repo}/revision/{quote(source.revision, safe='')}"
        response = self._ask(partial(http.get, url, headers=self._headers()))
        _refuse(response, source.repo)
        try:
            listed = [str(entry["rfilename"]) for entry in response.json()["siblings"]]
        except (ValueError, KeyError, TypeError):
            raise SourceFailed(f"{redact(self.endpoint)} does not answer like a hub") from None
        # A name decides where bytes go: none may lead out of the model's folder.
        return [
            name
            for name in listed
            if any(fnmatchcase(name, pattern) for pattern in source.patterns)
            and ".." not in PurePosixPath(name).parts
            and not name.startswith("/")
        ]

    def _describe(self, http: httpx.Client, source: Hub, name: str, pinned_sha256: str | None) -> _Found:
        """What the hub says of a file before it sends it."""
        url = f"{self.endpoint}/{source.repo}/resolve/{quote(source.revision, safe='')}/{quote(name)}"
        for _ in range(5):
            response = self._ask(partial(http.head, url, headers=self._headers(), follow_redirects=False))
            location = response.headers.get("Location", "")
            # A renamed repository redirects within the hub; a large file to a store that knows no etag of the hub's.
            if not response.is_redirect or urlsplit(location).netloc:
                break
            url = urljoin(url, location)
        if not response.is_redirect:
            _refuse(response, f"{source.repo}/{name}")
        said = response.headers
        commit = said.get("X-Repo-Commit", "")
        etag = (said.get("X-Linked-Etag") or said.get("ETag") or "").removeprefix("W/").strip('"')
        size = said.get("X-Linked-Size") or ("" if response.is_redirect else said.get("Content-Length", ""))
        if not commit:
            raise SourceFailed(f"{redact(self.endpoint)} does not answer like a hub")
        algorithm = {64: "sha256", 40: "git"}.get(len(etag)) if _HEX.fullmatch(etag) else None
        if pinned_sha256 and algorithm == "sha256" and etag != pinned_sha256:
            raise SourceFailed(f"{source.repo} has another {name}: sha256 {etag}, expected {pinned_sha256}")
        if not (pinned_sha256 or algorithm):
            raise SourceFailed(f"{source.repo}: the hub gives no hash of {name}")
        digest = Digest("sha256", pinned_sha256) if pinned_sha256 else Digest(str(algorithm), etag)
        # From here on by the commit, lest the branch move between two files.
        url = f"{self.endpoint}/{source.repo}/resolve/{commit}/{quote(name)}"
        remote = Remote(url, digest, int(size) if size.isdigit() else None, tuple(self._headers().items()))
        return _Found(remote, digest, commit if said.get("X-Xet-Hash") and self._use_xet else "")

    def _ask(self, question: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer within the timeout, or SourceFailed; a hub that did not answer stays unreachable."""
        if self._offline:
            raise SourceFailed("HF_HUB_OFFLINE is set")
        with self._lock:
            if self._unreachable:
                raise SourceFailed(self._unreachable)
            try:
                return _within(self._timeout_s, question)
            except (httpx.RequestError, httpx.InvalidURL, TimeoutError) as error:
                why = f" ({error})" if str(error) else ""
                self._unreachable = f"{redact(self.endpoint)} is not reachable{why}"
                raise SourceFailed(self._unreachable) from None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _bring_by_xet(
        self, source: Hub, name: str, digest: Digest, commit: str, target: Path, on_file: OnBytes
    ) -> bool:
        """The hub's own transfer: many chunks at once, several times the speed of one connection. False: not here."""
        try:
            from huggingface_hub import hf_hub_download

            hf_hub_download(
                source.repo,
                name,
                revision=commit,
                local_dir=target.parents[name.count("/")],
                endpoint=self.endpoint,
                token=self._token or False,
                tqdm_class=_reporter(on_file),
            )
            digest.check(target)
        except Exception as error:  # it is an accelerator: whatever stops it, plain HTTP brings the same file
            log.warning("%s: the chunked transfer failed (%s); going on over plain HTTP", name, error)
            target.unlink(missing_ok=True)
            return False
        return True


def _is_true(environ: Mapping[str, str], key: str) -> bool:
    return environ.get(key, "").upper() in ("1", "ON", "YES", "TRUE")


def _within(timeout_s: float, question: Callable[[], Answer]) -> Answer:
    """Raises TimeoutError when there is no answer in time. A thread, because resolving a name heeds no timeout."""
    answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(question())
        except Exception as error:  # raised again below, in the thread that asked
            answers.put(error)

    threading.Thread(target=ask, name="hub", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer in {timeout_s:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _refuse(response: httpx.Response, what: str) -> None:
    if response.is_success:
        return
    code = response.headers.get("X-Error-Code", "")
    reason = _REASONS.get(code) or response.headers.get("X-Error-Message") or _STATUS.get(response.status_code, "")
    raise SourceFailed(f"{what}: HTTP {response.status_code}{', ' + reason if reason else ''}")


def _add(on_bytes: OnProgress, before: int, total: int, size: int) -> None:
    on_bytes(before + size, total)


def _reporter(on_file: OnBytes) -> type[tqdm[Any]]:
    class Reporter(tqdm):  # type: ignore[type-arg]
        """Counts for us and draws nothing."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.seen = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.seen += int(n or 0)
            on_file(self.seen)
            return None

    return Reporter
