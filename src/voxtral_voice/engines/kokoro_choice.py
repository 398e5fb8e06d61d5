"""Which build of Kokoro is the faster on this CPU, measured once and remembered."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch

from voxtral_voice import __version__
from voxtral_voice.config import VoiceChoice
from voxtral_voice.engines import heap
from voxtral_voice.engines.kokoro import Build, styles
from voxtral_voice.engines.kokoro_network import Margins
from voxtral_voice.engines.kokoro_onnx import OnnxBuild
from voxtral_voice.engines.kokoro_torch import TorchBuild, margins_for
from voxtral_voice.types import Cancel, Pcm
from voxtral_voice.voices import resolve

log = logging.getLogger(__name__)

Name = Literal["kokoro", "kokoro-onnx"]
_NAMES: tuple[Name, Name] = ("kokoro", "kokoro-onnx")
# A first clause and a longer one: "Sure, I can help." and "The library opens at nine tomorrow morning."
_CLAUSES = ("ʃˈʊɹ, ˈI kæn hˈɛlp.", "ðə lˈIbɹˌɛɹi ˈOpᵊnz æt nˈIn təmˈɑɹO mˈɔɹnɪŋ.")
_ROUNDS = 3
_ROUNDS_S = 8.0  # no further round begins after this long, on a busy machine


def faster(onnx_folder: Path, voices: Path, choice: VoiceChoice, threads: int, remember: Path) -> Name:
    """ "kokoro" for torch in its faster type, "kokoro-onnx" for onnxruntime, whichever speaks two clauses sooner.

    `onnx_folder` and `voices`: as `KokoroOnnx` wants them; `threads`: CPU threads of either. `remember`: the file that
    keeps the answer; it counts for the same CPU, threads and versions only, the program's among them. Takes about 10 s
    without an answer there. Raises VoiceError("model_failed") and onnxruntime's errors for damaged models.
    """
    situation = _situation(threads, margins_for(choice))
    known = _recall(remember, situation)
    if known is not None:
        name, seconds = known
        log.info("Kokoro runs on %s here, %s", *_told(name, seconds))
        return name
    seconds = _measure(onnx_folder, styles(voices, resolve(choice.name)), threads, margins_for(choice))
    heap.trim()
    name = min(_NAMES, key=lambda each: seconds[each])
    log.info("Kokoro runs on %s here, measured at this moment: %s", *_told(name, seconds))
    _keep(remember, {"situation": situation, "faster": name, "seconds": seconds})
    return name


def _told(name: Name, seconds: Mapping[Name, float]) -> tuple[str, str]:
    library = {"kokoro": "torch", "kokoro-onnx": "onnxruntime"}
    figures = ", ".join(f"{library[each]} takes {seconds[each]:.2f} s" for each in _NAMES)
    return library[name], f"{figures} for the same two clauses"


def _measure(folder: Path, style: Pcm, threads: int, margins: Margins) -> dict[Name, float]:
    """Seconds for both clauses, medians. In turn, so that a busy moment of the machine falls on both."""
    builds: Mapping[Name, Build] = {
        "kokoro": TorchBuild(folder, threads=threads, margins=margins),
        "kokoro-onnx": OnnxBuild(folder, threads=threads),
    }
    took: dict[Name, list[float]] = {name: [] for name in builds}
    begin = time.perf_counter()
    for turn in range(1 + _ROUNDS):  # the first one warms up
        if turn > 1 and time.perf_counter() - begin > _ROUNDS_S:
            break
        for name, build in builds.items():
            start = time.perf_counter()
            for clause in _CLAUSES:
                build.synthesize(clause, style[len(clause) - 1], 1.0, Cancel())
            took[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in took.items()}


def _situation(threads: int, margins: Margins) -> dict[str, Any]:
    """What the answer depends on."""
    return {
        "cpu": _cpu(),
        "threads": threads,
        "margins": asdict(margins),
        "program": __version__,  # how the torch build works is ours
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    # The flags too, because machines of one cloud call different CPUs by one name.
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wide = sorted(flag for flag in found.get("flags", "").split() if flag.startswith(("amx", "avx512", "avx_vnni")))
    return " ".join([found.get("model name") or platform.processor() or platform.machine(), *wide])


def _recall(file: Path, situation: Mapping[str, Any]) -> tuple[Name, dict[Name, float]] | None:
    """What was measured in this situation; None when nothing was, or the file cannot be understood."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["situation"] != situation:
            return None
        (name,) = (each for each in _NAMES if each == kept["faster"])
        return name, {each: float(kept["seconds"][each]) for each in _NAMES}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("%s cannot be used, so Kokoro's builds are measured again: %s", file, error)
        return None


def _keep(file: Path, answer: Mapping[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(answer, out, indent=2)
        os.replace(temporary, file)
    except OSError as error:
        log.info("what was measured is not kept, so every start measures again: %s", error)
