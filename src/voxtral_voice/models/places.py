"""Where a model may already lie on this machine, without any network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from voxtral_voice.models import checkpoint
from voxtral_voice.models.catalog import Hub, Model
from voxtral_voice.models.hub_cache import cache_folders, cached_snapshots

BAKED = Path("/opt/voxtral-voice/models")
"""Where the Dockerfile puts models, one folder each."""

MANIFEST = ".manifest.json"


@dataclass(frozen=True, slots=True)
class Located:
    """A complete model on this machine."""

    path: Path
    origin: str
    """"local folder", "image", "store", "RunPod cache" or "Hugging Face cache"."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which a model was looked for; `missing` is empty when it is all there."""

    origin: str
    path: Path
    missing: str


def look(model: Model, *, baked: Path, root: Path, runpod_cache: Path, environ: Mapping[str, str]) -> Iterator[Place]:
    """Every place in order, cheaply: existence and sizes, no hashes."""
    for origin, parent in (("image", baked), ("store", root)):
        folder = parent / (model.folder or model.name)
        yield Place(origin, folder, missing(model, folder, pinned=True))
    for origin, caches in (("RunPod cache", (runpod_cache,)), ("Hugging Face cache", cache_folders(environ))):
        for cache in caches:
            for source in model.sources:
                if isinstance(source, Hub):
                    snapshots = cached_snapshots(cache, source)
                    if not snapshots:
                        yield Place(origin, cache, f"holds no {source.repo}")
                    for snapshot in snapshots:
                        yield Place(origin, snapshot, missing(model, snapshot, pinned=source.pinned))


def missing(model: Model, folder: Path, *, pinned: bool) -> str:
    """What `folder` lacks of the model, as words; empty when nothing. `pinned`: the catalog's sizes hold, unless the
    folder says which ones it was finished with."""
    try:
        return _missing(model, folder, pinned)
    except PermissionError as error:
        return f"{error.filename} may not be read"


def _missing(model: Model, folder: Path, pinned: bool) -> str:
    if not folder.is_dir():
        return "this is a file, not a folder" if folder.exists() else "no such folder"
    written = _written_sizes(folder) if pinned else {}
    for file in model.files:
        path = folder / file.name
        if not path.is_file():
            return f"lacks {file.name}"
        size = path.stat().st_size
        wanted = written.get(file.name, file.size_bytes) if pinned else None
        if size == 0 or (wanted is not None and size != wanted):
            return f"{file.name} has {size} bytes{f' instead of {wanted}' if wanted else ''}"
    for name in written:
        if not (folder / name).is_file():
            return f"lacks {name}"
    return checkpoint.missing(folder) if model.checkpoint else ""


def write_manifest(folder: Path, source: str) -> None:
    """Note what a finished folder consists of: another build than the catalog's has other sizes."""
    files = {
        str(path.relative_to(folder).as_posix()): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"source": source, "size_bytes": files}, indent=1) + "\n")


def _written_sizes(folder: Path) -> dict[str, int]:
    try:
        sizes = json.loads((folder / MANIFEST).read_text())["size_bytes"]
        return {str(name): int(size) for name, size in sizes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
