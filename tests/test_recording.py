"""What was heard, by sample; and the client's clock beside ours."""

from __future__ import annotations

import numpy as np

from voxtral_voice import audio
from voxtral_voice.recording import Recording
from voxtral_voice.types import Pcm


def ramp(start: int, length: int) -> Pcm:
    """Each sample is its own position, in steps of 16 bits."""
    return np.arange(start, start + length, dtype=np.float32) / np.float32(32768)


def positions(pcm: Pcm) -> list[float]:
    return [float(sample) * 32768 for sample in pcm]


def test_any_stretch_comes_back_whatever_the_pieces_it_came_in() -> None:
    recording = Recording(100_000)
    for start, end in ((0, 7), (7, 8), (8, 500), (500, 1000)):
        recording.add(ramp(start, end - start))
    assert recording.end == 1000
    for start, end in ((0, 1000), (0, 1), (6, 9), (7, 8), (499, 501), (999, 1000), (3, 3)):
        assert positions(recording.slice(start, end)) == list(range(start, end))


def test_what_is_asked_for_beyond_both_ends_is_left_out() -> None:
    recording = Recording(100_000)
    recording.add(ramp(0, 10))
    assert positions(recording.slice(5, 99)) == [5, 6, 7, 8, 9]
    assert len(recording.slice(20, 30)) == 0
    assert len(Recording(10).slice(0, 5)) == 0


def test_only_the_last_stretch_is_kept_and_it_is_at_least_as_long_as_promised() -> None:
    recording = Recording(8000)
    for index in range(100):
        recording.add(ramp(index * 320, 320))
    kept = recording.slice(0, recording.end)
    assert 8000 <= len(kept) <= 8000 + 5000  # a quarter of a second goes at a time, and the frame that filled it
    assert len(kept) == recording.end - recording.start
    assert positions(kept) == list(range(recording.start, 32_000))


def test_what_nobody_asks_for_any_more_goes_and_the_rest_stays() -> None:
    recording = Recording(1_000_000)
    for index in range(100):
        recording.add(ramp(index * 320, 320))
    recording.forget(20_000)
    assert positions(recording.slice(20_000, 32_000)) == list(range(20_000, 32_000))
    assert 20_000 - 5000 <= recording.start <= 20_000
    recording.forget(1_000_000)  # more than has been heard yet
    recording.add(ramp(0, 320))
    assert len(recording.slice(0, recording.end)) == 0
    assert recording.start == recording.end == 32_320


def test_sound_that_came_in_16_bits_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(1)
    sound = audio.from_pcm16(rng.integers(-32768, 32768, 16_000, dtype=np.int16).tobytes())
    recording = Recording(1_000_000)
    recording.add(sound)
    assert np.array_equal(recording.slice(0, 16_000), sound)


def test_a_slice_is_a_copy() -> None:
    recording = Recording(100)
    recording.add(ramp(0, 10))
    recording.slice(0, 10)[:] = 0
    assert positions(recording.slice(9, 10)) == [9]


def test_silence_of_ours_is_on_our_clock_and_not_on_the_clients() -> None:
    recording = Recording(1_000_000)
    recording.add(ramp(0, 16_000))
    recording.add(np.zeros(8000, np.float32), assumed=True)
    recording.add(np.zeros(8000, np.float32), assumed=True)
    recording.add(ramp(0, 16_000))
    recording.add(np.zeros(16_000, np.float32), assumed=True)
    assert recording.end == 64_000
    client_ms = {0: 0, 8000: 500, 16_000: 1000, 24_000: 1000, 32_000: 1000, 40_000: 1500, 48_000: 2000, 64_000: 2000}
    assert {position: recording.client_ms(position) for position in client_ms} == client_ms
