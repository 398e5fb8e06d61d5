"""Environments of the clients that are no dependencies of ours: made where they are missing, with fixed versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = {
    "pipecat": ["pipecat-ai[openai]==1.14.0"],
    "livekit": ["livekit-agents==1.8.9", "livekit-plugins-openai==1.8.9"],
    "node": ["@openai/agents-realtime@0.20.0", "zod@4.6.7"],
}
_UNREACHABLE = re.compile(
    r"Retrying \(Retry|Network is unreachable|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ENETUNREACH"
)


@dataclass(frozen=True)
class Environments:
    """In `folder`, one for each name in PACKAGES."""

    folder: Path

    def python(self, name: str) -> Path:
        """The interpreter of a virtual environment with these packages."""
        home = self.folder / name
        if not self._is_made(name):
            _run(sys.executable, "-m", "venv", "--clear", home)
            _run(home / "bin/python", "-m", "pip", "install", "--quiet", *PACKAGES[name])
            self._made(name)
        return home / "bin/python"

    def node(self, program: Path) -> Path:
        """`program` where it finds its packages: Node looks beside the file."""
        if shutil.which("npm") is None:
            pytest.skip("there is no npm (Debian: apt-get install nodejs npm)")
        home = self.folder / "node"
        if not self._is_made("node"):
            home.mkdir(parents=True, exist_ok=True)
            _run("npm", "install", "--prefix", home, "--no-audit", "--no-fund", "--loglevel=error", *PACKAGES["node"])
            self._made("node")
        return Path(shutil.copy(program, home))

    def _is_made(self, name: str) -> bool:
        stamp = self.folder / name / "made-of"
        return stamp.exists() and stamp.read_text().split() == PACKAGES[name]

    def _made(self, name: str) -> None:
        (self.folder / name / "made-of").write_text("\n".join(PACKAGES[name]))


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """In the folder that CLIENT_ENVIRONMENTS names, where they stay, or in one of this run's."""
    kept = os.environ.get("CLIENT_ENVIRONMENTS")
    return Environments(Path(kept).expanduser() if kept else tmp_path_factory.mktemp("clients"))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800)
    if done.returncode and _UNREACHABLE.search(done.stdout):
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, f"{command}\n{done.stdout}"
