"""G.711 against another implementation: FFmpeg's, through PyAV."""

from __future__ import annotations

import av
import numpy as np
import pytest

from voxtral_voice import g711
from voxtral_voice.g711 import Law

CODECS: dict[Law, str] = {"mu": "pcm_mulaw", "a": "pcm_alaw"}


def reference(data: bytes, law: Law) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """What FFmpeg takes the bytes for."""
    codec = av.CodecContext.create(CODECS[law], "r")
    codec.sample_rate, codec.layout = g711.HZ, "mono"  # type: ignore[attr-defined]
    frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]  # type: ignore[attr-defined]
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames])


@pytest.mark.parametrize("law", CODECS)
def test_every_byte_means_what_it_means_elsewhere(law: Law) -> None:
    every = bytes(range(256))
    assert np.array_equal(g711.decode(every, law) * 32768, reference(every, law))


@pytest.mark.parametrize("law", CODECS)
def test_a_byte_that_was_heard_is_said_again(law: Law) -> None:
    levels = g711.decode(bytes(range(256)), law)
    assert np.array_equal(g711.decode(g711.encode(levels, law), law), levels)


@pytest.mark.parametrize("law", CODECS)
def test_every_sample_becomes_the_nearest_level(law: Law) -> None:
    samples = (np.arange(-32768, 32768, 7) / 32768).astype(np.float32)
    levels = g711.decode(bytes(range(256)), law)
    nearest = np.min(np.abs(samples[:, None] - levels[None, :]), axis=1)
    assert np.allclose(np.abs(g711.decode(g711.encode(samples, law), law) - samples), nearest, atol=1e-6)


@pytest.mark.parametrize("law", CODECS)
def test_what_is_too_loud_is_the_loudest(law: Law) -> None:
    loudest = g711.decode(g711.encode(np.array([-2.0, 2.0], np.float32), law), law)
    assert np.all(np.abs(loudest) > 0.97)
    assert loudest[0] < 0 < loudest[1]
