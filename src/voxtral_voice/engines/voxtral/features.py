"""Sound -> log-mel spectrogram, as transformers' WhisperFeatureExtractor computes it for Voxtral."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from voxtral_voice.engines.voxtral.prompt import CHUNK_SAMPLES
from voxtral_voice.types import HEAR_HZ, Pcm

MELS = 128
CHUNK_FRAMES = 3000
_FFT_SAMPLES = 400
_HOP_SAMPLES = 160
_FLOOR = 1e-10
_RANGE = 8.0
"""Powers of ten below the loudest that are told apart."""


class LogMel:
    """Computes where the model runs: 30 s take milliseconds on a CPU and less than one on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._window = torch.hann_window(_FFT_SAMPLES, device=device)
        filters = mel_filter_bank(
            num_frequency_bins=1 + _FFT_SAMPLES // 2,
            num_mel_filters=MELS,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=HEAR_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self._filters = torch.from_numpy(filters).to(device, torch.float32).T.contiguous()

    @torch.inference_mode()
    def __call__(self, pcm: Pcm) -> Tensor:
        """`pcm`: shape [samples], 16 kHz, any length. Returns float32 [chunks, 128, 3000], one chunk per begun 30 s.

        Levels are relative to the loudest frame of the whole clip, not of a chunk.
        """
        chunks = max(1, -(-len(pcm) // CHUNK_SAMPLES))
        padded = np.zeros(chunks * CHUNK_SAMPLES, np.float32)
        padded[: len(pcm)] = pcm
        wave = torch.from_numpy(padded).to(self._device)
        spectrum = torch.stft(wave, _FFT_SAMPLES, _HOP_SAMPLES, window=self._window, return_complex=True)
        power = (spectrum[..., :-1].abs() ** 2).contiguous()
        log = (self._filters @ power).clamp(min=_FLOOR).log10()
        log = torch.maximum(log, log.max() - _RANGE)
        return ((log + 4.0) / 4.0).reshape(MELS, chunks, CHUNK_FRAMES).transpose(0, 1).contiguous()
