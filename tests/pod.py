"""A pod to deploy to: a workspace in a temporary folder, RunPod's variables, and a command that runs the deploy script.

`scripted_pod` has an environment whose `voxtral-voice serve` is the scripted server and which has nothing to install
or fetch: everything else, the supervisor, the key and, if wanted, the spoken trial, is as on a real pod.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from scripted_process import free_port

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("bash", "curl", "flock", "setsid", "git")
LIGHT = {"VOXTRAL_ENGINES__REPLY": "template", "VOXTRAL_ENGINES__SYNTHESIZER": "kokoro-onnx"}
"""Real models without torch, which takes seconds to come up: for tests of commands, not of answers."""
needs_a_pods_tools = pytest.mark.skipif(
    not sys.platform.startswith("linux") or any(shutil.which(tool) is None for tool in TOOLS),
    reason=f"a pod is a Linux machine with {', '.join(TOOLS)}",
)
_PROGRAM = """#!{python}
import sys
from pathlib import Path
sys.path[:0] = ["{tests}", "{root}"]
if sys.argv[1] == "serve":
    if Path("{broken}").exists():
        sys.exit("this version does not start")
    from scripted_process import main
    sys.exit(main())
"""


@dataclass
class Pod:
    folder: Path
    script: Path = ROOT / "deploy_voxtral_tts.sh"
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace" / "voxtral-voice"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.workspace / "api-key").read_text().strip()

    @property
    def server_pid(self) -> int:
        return int((self.workspace / "run" / "server.pid").read_text())

    def variables(self) -> dict[str, str]:
        ours = ("VOXTRAL_", "PORT", "RUNPOD_", "VENV", "SKIP_INSTALL", "IDLE_STOP")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        return {
            **inherited,
            "RUNPOD_POD_ID": "abc123",
            "VOXTRAL_WORKSPACE": str(self.workspace),
            "PORT": str(self.port),
            **self.environment,
        }

    def run(self, command: str, *, within_s: float = 300) -> subprocess.CompletedProcess[str]:
        """The script to its end; stdout and stderr in one."""
        return subprocess.run(
            ["bash", str(self.script), command],
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
        )

    def status(self) -> str:
        """What the server says of itself."""
        return httpx.get(f"{self.url}/status", headers={"X-API-Key": self.key}).text

    def ready_after_s(self, within_s: float = 180) -> float:
        """How long from now until it is ready."""
        started = time.monotonic()
        while True:
            try:
                if httpx.get(f"{self.url}/ready").status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            assert time.monotonic() - started < within_s, "the server does not come back"
            time.sleep(0.1)


def scripted_pod(folder: Path, *, trial: bool = False, **environment: str) -> Pod:
    """A pod on which nothing has to be installed; a file `broken` in `folder` is a server that does not start.

    `trial`: a start ends with the real spoken trial, which takes some seconds; otherwise it is taken as passed.
    """
    program = folder / "venv" / "bin" / "voxtral-voice"
    program.parent.mkdir(parents=True)
    program.write_text(
        _PROGRAM.format(python=sys.executable, tests=ROOT / "tests", root=ROOT, broken=folder / "checkout" / "broken")
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    passed = "" if trial else 'case "$*" in "-m bench.smoke "*) exit 0 ;; esac\n'
    (program.parent / "python").write_text(f'#!/bin/sh\n{passed}exec "{sys.executable}" "$@"\n')
    (program.parent / "python").chmod(0o755)
    given = {"VENV": str(folder / "venv"), "SKIP_INSTALL": "1", "READY_S": "180", **environment}
    return Pod(folder, environment=given)


def processes(pod: Pod) -> list[str]:
    """Command lines of everything that belongs to this pod."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if str(pod.workspace).encode() in environment:
                found.append(line)
    return found


def comes_to(pod: Pod, count: int, within_s: float = 60) -> bool:
    """So many processes belong to this pod, at once or soon: the last words of a server end a moment after it."""
    end = time.monotonic() + within_s
    while len(processes(pod)) != count and time.monotonic() < end:
        time.sleep(0.05)
    return len(processes(pod)) == count


def url_in(output: str) -> tuple[str, str]:
    """The address and the key that were printed."""
    found = re.search(r"(https?://\S+)/#key=(\S+)", output)
    assert found, output
    return found[1], found[2]


def git(folder: Path, *arguments: str) -> str:
    """git with an author of its own."""
    author = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *author, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def checkout(folder: Path) -> Path:
    """A clone, in `folder`/checkout, of a repository in `folder`/origin that holds the script and the spoken trial."""
    origin = folder / "origin"
    (origin / "bench").mkdir(parents=True)
    shutil.copy(ROOT / "deploy_voxtral_tts.sh", origin)
    for name in ("__init__.py", "smoke.py", "report.py"):
        shutil.copy(ROOT / "bench" / name, origin / "bench")
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "First")
    git(folder, "clone", "--quiet", str(origin), "checkout")
    return folder / "checkout"
