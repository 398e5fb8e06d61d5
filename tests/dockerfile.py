"""The Dockerfile without Docker: its steps run in a folder that stands for the image's root.

Understands what our Dockerfile uses: ARG, ENV, WORKDIR, COPY and RUN. FROM is whatever Python is given as `python3.12`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_OURS = "/opt/voxtral-voice"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), comments and line ends taken out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(words[0], words[2]) for line in joined.splitlines() if line and (words := line.partition(" "))]


def ignored(name: str) -> bool:
    """Whether .dockerignore keeps a file out of what Docker is given."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            within = [name, *(str(parent) for parent in Path(name).parents), *Path(name).parts]
            if any(fnmatch(each, pattern) for each in within if each != "."):
                out = not line.startswith("!")
    return out


@dataclass
class Image:
    root: Path
    """Stands for /."""
    python: str
    """The base's python3.12: one that sees the base's torch."""
    arguments: dict[str, str] = field(default_factory=dict)
    """Build arguments."""
    environment: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path("/")

    def build(self) -> None:
        for instruction, text in instructions():
            match instruction:
                case "ARG":
                    name, _, default = text.partition("=")
                    self.environment[name] = self.arguments.get(name, default.strip('"'))
                case "ENV":
                    for name, value in re.findall(r"(\w+)=(\S+)", text):
                        self.environment[name] = os.path.expandvars(self._here(value).replace("$PATH", self._path()))
                case "WORKDIR":
                    self.workdir = Path(self._here(text))
                    self.workdir.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    *sources, target = text.split()
                    for source in sources:
                        self._copy(source, target)
                case "RUN":
                    self.run(text.replace("--system-site-packages ", ""))  # that would be this machine's
                    if "-m venv" in text:
                        self._show_the_base_to(Path(self._here(text.split()[-1])))

    def run(self, command: str) -> str:
        """What the command writes, both ways. Raises CalledProcessError."""
        command = self._here(re.sub(r"(?<![\w/])/tmp/", f"{self.root}/tmp/", command)).replace(
            "python3.12", self.python
        )
        (self.root / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command],
            cwd=self.workdir,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
        return done.stdout

    def variables(self) -> dict[str, str]:
        """Of a command in it: the image's, and of ours only what reaches the package index."""
        kept = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "HTTP", "SSL", "LANG"))}
        return {**kept, "PATH": self._path(), "HOME": str(self.root), **self.environment}

    def _show_the_base_to(self, venv: Path) -> None:
        """An environment made from a Python that is in one itself sees neither's packages; behind its own, as there."""
        ask = [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        (site,) = venv.glob("lib/python3*/site-packages")
        (site / "base.pth").write_text(packages)

    def _copy(self, source: str, target: str) -> None:
        assert not ignored(source), f".dockerignore keeps {source} out"
        into = self.workdir / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, into)

    def _here(self, text: str) -> str:
        return text.replace(_OURS, f"{self.root}{_OURS}")

    def _path(self) -> str:
        return self.environment.get("PATH", os.environ["PATH"])
