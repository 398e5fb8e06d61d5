"""Kokoro-82M on the CPU through onnxruntime.

Measured on two cores: the int8 build beats one with its convolutions in 32-bit float by 12-28 %; optimisation level,
arena and denormals make no difference; a pool that spins loses as soon as something else wants a core.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from voxtral_voice.config import VoiceChoice
from voxtral_voice.engines.kokoro import Kokoro, tokens
from voxtral_voice.onnx import open_model
from voxtral_voice.types import Cancel, Pcm

FILE = "kokoro-v1.0.int8.onnx"


class OnnxBuild:
    """The network as an ONNX file (`kokoro.Build`)."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """`folder` holds FILE. `threads`: CPU threads. Raises onnxruntime's errors for a damaged file."""
        self._model = open_model(folder / FILE, threads)

    def synthesize(self, part: str, style: Pcm, speed: float, cancel: Cancel) -> Pcm | None:
        """As `kokoro.Build` says; a set `cancel` stops it within 10 ms (measured)."""
        inputs = {
            "tokens": np.array([tokens(part)], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        options = onnxruntime.RunOptions()

        def stop() -> None:
            options.terminate = True

        forget = cancel.on_set(stop)
        try:
            (pcm,) = self._model.run(None, inputs, options)
        except Fail:  # how onnxruntime reports that it was told to stop
            if cancel.is_set():
                return None
            raise
        finally:
            forget()
        return np.asarray(pcm, np.float32).reshape(-1)


class KokoroOnnx(Kokoro):
    """Kokoro on onnxruntime, for every session."""

    def __init__(self, folder: Path, voices: Path, choice: VoiceChoice | None = None, *, threads: int = 1) -> None:
        """Call it in the thread that will speak, whose niceness the pools inherit.

        `folder` holds FILE; `threads`: CPU threads of the model; the rest, and what is raised, as `Kokoro` and
        `OnnxBuild` say.
        """
        super().__init__(OnnxBuild(folder, threads=threads), voices, choice)
