"""The cache that huggingface_hub and its kin share: where it is, and what of a repository it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voxtral_voice.models.catalog import Hub

RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")
"""Where RunPod mounts the model named at an endpoint, in the layout of that cache."""


def cache_folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The Hugging Face cache of this user, where huggingface_hub itself would look."""
    if chosen := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return (Path(chosen).expanduser(),)
    return (_hub_home(environ) / "hub",)


def cached_snapshots(cache: Path, source: Hub) -> list[Path]:
    """The snapshots of a repository in a cache, the one that the revision names first, then the latest."""
    repo = cache / f"models--{source.repo.replace('/', '--')}"
    try:
        snapshots = sorted((repo / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    named = _read(repo / "refs" / source.revision) or source.revision
    return sorted(snapshots, key=lambda path: path.name != named)


def _hub_home(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()


def saved_token(environ: Mapping[str, str]) -> str:
    """What `hf auth login` left."""
    return _read(Path(environ.get("HF_TOKEN_PATH") or _hub_home(environ) / "token").expanduser())


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
