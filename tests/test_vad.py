from __future__ import annotations

import numpy as np
import pytest

from model_fixtures import Recording, model_folder, noise, tone
from voxtral_voice.types import Pcm
from voxtral_voice.vad import SileroDetector

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def detector() -> SileroDetector:
    return SileroDetector(model_folder("silero"))


def run(detector: SileroDetector, pcm: Pcm) -> list[float]:
    state = detector.start()
    found = []
    for start in range(0, len(pcm) - 511, 512):
        probability, state = detector.probability(pcm[start : start + 512], state)
        found.append(probability)
    return found


def test_speech_is_speech_and_other_sounds_are_not(detector: SileroDetector, speech: Recording) -> None:
    assert np.mean(np.array(run(detector, speech.pcm)) > 0.5) > 0.4
    for other in (np.zeros(32_000, np.float32), noise(2.0), tone(2.0)):
        assert np.mean(np.array(run(detector, other)) > 0.5) < 0.1


def test_a_state_can_be_continued_twice(detector: SileroDetector, speech: Recording) -> None:
    windows = speech.pcm[:5120].reshape(10, 512)
    state = detector.start()
    for window in windows[:5]:
        _, state = detector.probability(window, state)
    first, _ = detector.probability(windows[5], state)
    detector.probability(windows[9], state)
    second, _ = detector.probability(windows[5], state)
    assert first == second
    with pytest.raises(ValueError, match="read-only"):
        state.memory[:] = 0


def test_samples_that_are_not_numbers_leave_no_trace(detector: SileroDetector, speech: Recording) -> None:
    bad = np.full(512, np.nan, np.float32)
    bad[::3] = np.inf
    bad[1::3] = -1e38
    state = detector.start()
    for _ in range(3):
        probability, state = detector.probability(bad, state)
        assert 0.0 <= probability <= 1.0
    found = []
    for start in range(0, len(speech.pcm) - 511, 512):
        probability, state = detector.probability(speech.pcm[start : start + 512], state)
        found.append(probability)
    assert max(found) > 0.9


def test_wrong_windows_and_states_are_refused(detector: SileroDetector) -> None:
    with pytest.raises(ValueError, match="512 samples"):
        detector.probability(np.zeros(511, np.float32), detector.start())
    with pytest.raises(ValueError, match="state"):
        detector.probability(np.zeros(512, np.float32), None)
