"""Has the user finished? smart-turn v3.2, which hears intonation and hesitation and not only silence.

Model: `smart-turn-v3.2-cpu.onnx` from pipecat-ai 1.14.0 (BSD-2-Clause), https://github.com/pipecat-ai/smart-turn.
The features are those of that package: the last 8 s, zeros in front, unit variance, Whisper's log-mel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxtral_voice.mel import Mel
from voxtral_voice.onnx import open_model
from voxtral_voice.types import HEAR_HZ, Pcm

FILE = "smart-turn-v3.2-cpu.onnx"
_WINDOW_SAMPLES = 8 * HEAR_HZ


class SmartTurn:
    """One model for every session (`engines.protocols.EndpointDetector`); keeps no state."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """`folder` holds `smart-turn-v3.2-cpu.onnx`. `threads`: one leaves the other cores to the engine at work."""
        self._model = open_model(folder / FILE, threads)
        self._mel = Mel()

    def probability(self, turn_audio: Pcm) -> float:
        """`turn_audio`: the turn so far, shape [samples], 16 kHz, of which the last 8 s count.

        Returns how likely the user has finished, in 0..1. Samples that are not numbers count as silence.
        """
        (output,) = self._model.run(None, {"input_features": self.features(turn_audio)[None]})
        return float(output[0].item())

    def features(self, turn_audio: Pcm) -> Pcm:
        """Log-mel of the last 8 s, shape [80, 800]."""
        window = np.zeros(_WINDOW_SAMPLES, np.float32)
        tail = turn_audio[-_WINDOW_SAMPLES:]
        window[_WINDOW_SAMPLES - len(tail) :] = np.clip(np.nan_to_num(tail, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
        window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        return self._mel(window, _WINDOW_SAMPLES)
