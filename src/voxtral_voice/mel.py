"""Whisper's log-mel spectrogram, which Whisper and smart-turn listen to; the numbers are faster-whisper's.

faster-whisper multiplies matrices for it, and numpy's BLAS shares that little work out over all cores and spins there:
10 s of sound cost 24 ms of two cores, which other engines want, in place of 5 ms of one. A mel band rests on a few
neighbouring frequencies, so sums over those do.
"""

from __future__ import annotations

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.lib.stride_tricks import sliding_window_view

from voxtral_voice.types import Pcm

HOP_SAMPLES = 160
_WINDOW_SAMPLES = 400
_FAINTEST = 1e-10
_BLOCK = 256  # windows at a time: their spectra stay in a core's cache
_RANGE = 8.0  # decades below the loudest that are told apart


class Mel:
    """Bands and window; keeps nothing between calls."""

    def __init__(self) -> None:
        filters = np.asarray(FeatureExtractor().mel_filters, np.float32)
        self._bands = []
        for row in filters:
            (used,) = np.nonzero(row)
            self._bands.append((int(used[0]), int(used[-1]) + 1, row[used[0] : used[-1] + 1, None]))
        self._window = np.hanning(_WINDOW_SAMPLES + 1)[:-1].astype(np.float32)

    def __call__(self, pcm: Pcm, samples: int) -> Pcm:
        """`pcm`: shape [up to `samples`], 16 kHz; silence behind it counts as if it were there.

        `samples`: a multiple of HOP_SAMPLES. Returns shape [80, samples / HOP_SAMPLES].
        """
        reach = len(pcm) + _WINDOW_SAMPLES  # of the last window that hears anything
        heard = min(samples, reach + -reach % HOP_SAMPLES)
        sound = np.zeros(heard, np.float32)
        sound[: len(pcm)] = pcm[:heard]
        padded = np.pad(sound, _WINDOW_SAMPLES // 2, mode="reflect")
        windows = sliding_window_view(padded, _WINDOW_SAMPLES)[:heard:HOP_SAMPLES]
        mel = np.zeros((len(self._bands), samples // HOP_SAMPLES), np.float32)
        for start in range(0, len(windows), _BLOCK):
            block = windows[start : start + _BLOCK]
            spectrum = np.fft.rfft(block * self._window)
            power = np.ascontiguousarray((np.square(spectrum.real) + np.square(spectrum.imag)).T)
            for band, (first, last, weights) in enumerate(self._bands):
                np.einsum("ft,fz->t", power[first:last], weights, out=mel[band, start : start + len(block)])
        mel = np.log10(np.maximum(mel, _FAINTEST))
        scaled: Pcm = (np.maximum(mel, mel.max() - _RANGE) + 4.0) / 4.0
        return scaled
