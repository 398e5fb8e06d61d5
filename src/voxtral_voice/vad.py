"""Is somebody speaking? Silero VAD v6 on onnxruntime, without torch.

Model: silero-vad 6.2.3, `silero_vad.onnx` (MIT), https://github.com/snakers4/silero-vad. One window takes about
0.1 ms on one core. Its probability falls about 90 ms after the sound's energy does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voxtral_voice.onnx import open_model
from voxtral_voice.types import HEAR_HZ, Pcm

FILE = "silero_vad.onnx"
_CONTEXT_SAMPLES = 64
_SAMPLE_RATE = np.array(HEAR_HZ, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class VadState:
    """What the model remembers between windows. Read-only: one state may be continued in several ways."""

    memory: npt.NDArray[np.float32]
    """Shape [2, 1, 128]: the recurrent state."""
    context: Pcm
    """Shape [64]: the end of the window before."""


class SileroDetector:
    """One model for every session (`engines.protocols.SpeechDetector`)."""

    window_samples = 512

    def __init__(self, folder: Path) -> None:
        """`folder` holds `silero_vad.onnx`. One thread: a window is too little work to share out."""
        self._model = open_model(folder / FILE, threads=1)
        self._start = _frozen(np.zeros((2, 1, 128), np.float32), np.zeros(_CONTEXT_SAMPLES, np.float32))

    def start(self) -> VadState:
        return self._start

    def probability(self, window: Pcm, state: object) -> tuple[float, VadState]:
        """`window`: shape [512], 16 kHz. Returns the probability of speech in 0..1 and the state for the next window.

        Samples that are not numbers count as silence and those beyond [-1, 1] are clipped: a single NaN would stay in
        the state for ever. Raises ValueError for a window of another length or a state of another detector.
        """
        if window.shape != (self.window_samples,):
            raise ValueError(f"a window has {self.window_samples} samples, not shape {window.shape}")
        if not isinstance(state, VadState):
            raise ValueError(f"a state comes from start() or probability(), not {type(state).__name__}")
        clean = np.clip(np.nan_to_num(window, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0).astype(np.float32)
        joined = np.concatenate([state.context, clean])
        inputs = {"input": joined[None], "state": state.memory, "sr": _SAMPLE_RATE}
        output, memory = self._model.run(None, inputs)
        return float(output[0, 0]), _frozen(memory, joined[-_CONTEXT_SAMPLES:])


def _frozen(memory: npt.NDArray[np.float32], context: Pcm) -> VadState:
    memory.flags.writeable = False
    context.flags.writeable = False
    return VadState(memory, context)
