"""Bytes to samples and back, other rates, windows, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxtral_voice.audio import Framer, Resampler, from_pcm16, read, resample, to_pcm16, to_wav, wav_header
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Pcm, VoiceError


def tone(hz: int, rate_hz: int, seconds: float = 1.0) -> Pcm:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_every_16_bit_value_survives_the_way_there_and_back() -> None:
    data = np.arange(-32768, 32768, dtype="<i2").tobytes()
    samples = from_pcm16(data)
    assert samples.dtype == np.float32
    assert (samples.min(), samples.max()) == (-1.0, 32767 / 32768)
    assert to_pcm16(samples) == data


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around() -> None:
    assert np.frombuffer(to_pcm16(np.array([2.0, -2.0], np.float32)), "<i2").tolist() == [32767, -32768]


def test_half_a_sample_is_an_error_and_nothing_is_nothing() -> None:
    with pytest.raises(VoiceError) as refused:
        from_pcm16(b"\0\0\0")
    assert refused.value.code == "invalid_audio"
    assert len(from_pcm16(b"")) == len(to_pcm16(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize(("in_hz", "out_hz"), [(24_000, 16_000), (24_000, 24_000), (16_000, 16_000)])
def test_a_stream_in_pieces_sounds_as_the_whole_and_is_as_long(in_hz: int, out_hz: int) -> None:
    whole = tone(440, in_hz)
    resampler, sizes = Resampler(in_hz, out_hz), [1, 479, 480, 481, 7]
    pieces: list[Pcm] = []
    start = 0
    while start < len(whole):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(resampler.push(whole[start : start + size]))
        start += size
    pieces.append(resampler.push(whole[:0], last=True))
    joined = np.concatenate(pieces)
    assert abs(len(joined) - out_hz) <= 1
    middle = slice(1000, out_hz - 1000)
    assert np.max(np.abs(joined[middle] - tone(440, out_hz)[middle])) < 0.005


def test_what_16_khz_cannot_hold_is_filtered_out_and_not_folded_down() -> None:
    for resampled in (
        resample(tone(11_000, 24_000), 24_000, 16_000),
        Resampler(24_000, 16_000).push(tone(11_000, 24_000)),
    ):
        assert np.sqrt(np.mean(resampled[500:-500] ** 2)) < 0.01


def test_windows_are_exact_and_nothing_is_lost_whatever_the_sizes_of_the_frames() -> None:
    framer, rest = Framer(512), np.random.default_rng(7)
    samples = np.arange(20_000, dtype=np.float32)
    windows, start = [], 0
    while start < len(samples):
        size = int(rest.integers(0, 1500))
        windows += framer.push(samples[start : start + size])
        start += size
    assert {len(window) for window in windows} == {512}
    assert np.concatenate(windows).tolist() == samples[: 20_000 // 512 * 512].tolist()


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 44_100, 48_000])
def test_a_file_of_any_rate_and_channels_is_read_as_mono(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "sound.wav"
    left = tone(440, rate_hz)
    soundfile.write(path, np.stack([left, left], axis=1), rate_hz)
    samples = read(path, HEAR_HZ)
    assert samples.shape == (HEAR_HZ,)
    assert np.max(np.abs(samples[1000:-1000] - tone(440, HEAR_HZ)[1000:-1000])) < 0.01
    assert read(path.read_bytes(), HEAR_HZ).tolist() == samples.tolist()


def test_what_is_no_sound_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are words")
    with pytest.raises(VoiceError, match=r"notes\.txt") as refused:
        read(path, HEAR_HZ)
    assert refused.value.code == "invalid_audio"
    with pytest.raises(VoiceError, match="upload"):
        read(b"these are words", HEAR_HZ)
    with pytest.raises(VoiceError):
        read(tmp_path / "missing.wav", HEAR_HZ)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16_000, subtype="FLOAT")
    with pytest.raises(VoiceError, match="not numbers"):
        read(tmp_path / "nan.wav", HEAR_HZ)


def test_a_wav_that_was_written_is_read_back() -> None:
    samples = tone(440, SPEAK_HZ)
    assert np.max(np.abs(read(to_wav(samples, SPEAK_HZ), SPEAK_HZ) - samples)) < 1e-4


def test_a_wav_whose_length_is_not_known_yet_is_read_to_its_end() -> None:
    samples = tone(440, SPEAK_HZ, 0.5)
    assert len(wav_header(SPEAK_HZ)) == 44
    assert len(read(wav_header(SPEAK_HZ) + to_pcm16(samples), SPEAK_HZ)) == len(samples)
