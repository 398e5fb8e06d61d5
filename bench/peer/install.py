"""Where Pipecat lives: an environment of its own, because its packages and ours want different versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("pipecat-ai[websocket,kokoro,whisper,silero]==1.14.0", "uvicorn>=0.40", "uvloop")


def folder() -> Path:
    """BENCH_PEER, else one in the user's cache."""
    chosen = os.environ.get("BENCH_PEER")
    return Path(chosen) if chosen else Path.home() / ".cache" / "voxtral-voice-bench" / "pipecat"


def python(at: Path) -> Path:
    return at / "bin" / "python"


def install(at: Path) -> None:
    """Make the environment (0.8 GB, minutes). Raises subprocess.CalledProcessError."""
    subprocess.run([sys.executable, "-m", "venv", str(at)], check=True)
    subprocess.run([str(python(at)), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
