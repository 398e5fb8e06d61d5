"""Voxtral at its full size on a CPU, loaded from files: how long it takes, and how much memory.

    python -m bench.voxtral_on_cpu [FOLDER] [--json FILE]

FOLDER: a checkpoint; without it one of random weights is written to a temporary place first (9.4 GB, minutes).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import random_voxtral
from bench.report import Report
from voxtral_voice.types import HEAR_HZ, AudioPart, Cancel, Finished, Message, ReplySettings

_TOKENS = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a checkpoint (default: random weights)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    chosen = parser.parse_args()
    if chosen.folder is not None:
        return answer(chosen.folder, chosen.json)
    with tempfile.TemporaryDirectory() as folder:
        random_voxtral.write(Path(folder), "full")
        # A process of its own, so that the memory it took to make the weights is not counted.
        command = [sys.executable, "-m", "bench.voxtral_on_cpu", folder]
        return subprocess.run(
            [*command, *(["--json", str(chosen.json)] if chosen.json else [])], check=False
        ).returncode


def answer(folder: Path, json: Path | None) -> int:
    import torch

    from voxtral_voice.engines.voxtral.engine import Voxtral

    report = Report("voxtral_on_cpu", {"threads": torch.get_num_threads(), "weights": "as in the checkpoint"})
    started = time.perf_counter()
    voxtral = Voxtral.load(folder, slots=1, context_tokens=1024)
    report.figure("load", time.perf_counter() - started, 1, "s")
    turn = np.random.default_rng(0).normal(0, 0.1, 3 * HEAR_HZ).astype(np.float32)
    settings = ReplySettings("Be brief.", language="en", max_tokens=_TOKENS, temperature=0.0)
    started = time.perf_counter()
    outputs = voxtral.reply((Message("user", (AudioPart(turn),)),), settings, Cancel())
    next(outputs)
    first = time.perf_counter()
    finished = next(output for output in outputs if isinstance(output, Finished))
    report.figure("3 s heard and read, first token written", first - started, 1, "s")
    further = finished.reply_tokens - 1
    report.figure("each further token", (time.perf_counter() - first) / max(further, 1), further, "s")
    report.figure("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30, 1, "GiB")
    report.finish(json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
