"""The spectrogram against faster-whisper's."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from voxtral_voice.mel import Mel
from voxtral_voice.types import HEAR_HZ


@pytest.mark.parametrize("samples", [1_000, 30_123, 10 * HEAR_HZ - 100, 10 * HEAR_HZ])
def test_it_is_faster_whispers_however_much_of_the_context_is_silence(samples: int) -> None:
    context = 10 * HEAR_HZ
    sound = np.zeros(context, np.float32)
    sound[:samples] = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    wanted = FeatureExtractor()(sound, padding=0)
    found = Mel()(sound[:samples], context)
    assert found.shape == wanted.shape == (80, 1000)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_silence_has_no_loudest_part() -> None:
    np.testing.assert_allclose(Mel()(np.zeros(0, np.float32), HEAR_HZ), -1.5, atol=1e-6)
