from __future__ import annotations

import numpy as np
import pytest

from model_fixtures import Recording, model_folder, noise
from voxtral_voice.endpoint import SmartTurn
from voxtral_voice.types import HEAR_HZ, Pcm

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def endpoint() -> SmartTurn:
    return SmartTurn(model_folder("smart_turn"))


def reference(pcm: Pcm) -> Pcm:
    """The published recipe, step by step in double precision, with transformers' filters."""
    from transformers.audio_utils import mel_filter_bank

    window = np.zeros(8 * HEAR_HZ)
    window[max(0, 8 * HEAR_HZ - len(pcm)) :] = pcm[-8 * HEAR_HZ :]
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    padded = np.pad(window, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160] * np.hanning(401)[:-1]
    power = np.abs(np.fft.rfft(frames)).T ** 2
    filters = mel_filter_bank(201, 80, 0.0, 8000.0, HEAR_HZ, norm="slaney", mel_scale="slaney")
    mel = np.log10(np.maximum(filters.T @ power, 1e-10))[:, :-1]
    return np.asarray((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0, np.float32)


@pytest.mark.parametrize("seconds", [0.5, 8.0, 11.0])
def test_features_are_those_the_model_was_trained_on(endpoint: SmartTurn, seconds: float) -> None:
    pcm = noise(seconds)
    assert endpoint.features(pcm).shape == (80, 800)
    np.testing.assert_allclose(endpoint.features(pcm), reference(pcm), atol=2e-5)


def test_a_whole_question_is_finished_and_half_of_it_less_so(endpoint: SmartTurn, speech: Recording) -> None:
    whole = endpoint.probability(speech.pcm)
    half = endpoint.probability(speech.pcm[: len(speech.pcm) // 2])
    assert whole > 0.5
    assert half < whole


@pytest.mark.parametrize("pcm", [np.zeros(0), np.zeros(8 * HEAR_HZ), np.full(4000, np.nan), noise(60.0)])
def test_any_audio_gives_a_probability(endpoint: SmartTurn, pcm: Pcm) -> None:
    assert 0.0 <= endpoint.probability(pcm.astype(np.float32)) <= 1.0
