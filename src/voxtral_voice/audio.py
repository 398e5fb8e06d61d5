"""PCM in and out of bytes, resampling, exact re-framing, wav files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr

from voxtral_voice.types import Pcm, VoiceError


def from_pcm16(data: bytes) -> Pcm:
    """Little-endian signed 16-bit mono to samples in [-1, 1). Raises VoiceError("invalid_audio") on half a sample."""
    if len(data) % 2:
        raise VoiceError("invalid_audio", f"16-bit audio has an even number of bytes, not {len(data)}")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0


def to_pcm16(pcm: Pcm) -> bytes:
    """Samples to little-endian signed 16-bit, clipped."""
    return (np.clip(pcm, -1.0, 32767 / 32768) * 32768.0).astype("<i2").tobytes()


class Resampler:
    """Stateful: one stream, one rate in, one rate out; chunks join without clicks."""

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self._stream = None if in_hz == out_hz else soxr.ResampleStream(in_hz, out_hz, 1, dtype="float32", quality="LQ")

    def push(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """`last` returns what the filter still holds."""
        if self._stream is None:
            return pcm
        out: Pcm = self._stream.resample_chunk(pcm, last=last)
        return out


def resample(pcm: Pcm, in_hz: int, out_hz: int) -> Pcm:
    """A whole clip at once."""
    if in_hz == out_hz:
        return pcm
    out: Pcm = soxr.resample(pcm, in_hz, out_hz).astype(np.float32)
    return out


class Framer:
    """Cuts a stream into windows of exactly `size` samples, whatever the sizes it arrives in."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest: Pcm = np.zeros(0, np.float32)

    def push(self, pcm: Pcm) -> list[Pcm]:
        joined = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:]
        return [joined[start : start + self._size] for start in range(0, whole, self._size)]


def require_length(samples: int, rate_hz: int, longest_s: float) -> None:
    """Raises VoiceError("turn_too_long")."""
    if samples > longest_s * rate_hz:
        raise VoiceError(
            "turn_too_long", f"the audio lasts {samples / rate_hz:.1f} s, at most {longest_s:g} s are taken"
        )


def read(source: Path | bytes, rate_hz: int, *, longest_s: float | None = None) -> Pcm:
    """A sound file (wav, flac, ogg, mp3) as mono samples at `rate_hz`.

    Raises VoiceError("invalid_audio"), and "turn_too_long" before anything is decoded.
    """
    try:
        with soundfile.SoundFile(source if isinstance(source, Path) else io.BytesIO(source)) as file:
            in_hz = file.samplerate
            if not 4_000 <= in_hz <= 384_000:
                raise VoiceError("invalid_audio", f"a sample rate of {in_hz} Hz is not audio of speech")
            if longest_s is not None:
                require_length(len(file), in_hz, longest_s)
            pcm = file.read(dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:  # soundfile raises both for what it cannot read
        name = source if isinstance(source, Path) else "the upload"
        reason = getattr(error, "error_string", error)  # soundfile's whole message names the object in memory
        raise VoiceError("invalid_audio", f"{name} cannot be read as audio: {reason}") from None
    if not np.isfinite(pcm).all():
        raise VoiceError("invalid_audio", "the audio holds values that are not numbers")
    return resample(np.ascontiguousarray(pcm.mean(axis=1)), in_hz, rate_hz)


def to_wav(pcm: Pcm, rate_hz: int) -> bytes:
    """A complete 16-bit mono wav file."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(pcm, -1.0, 32767 / 32768), rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()


def wav_header(rate_hz: int) -> bytes:
    """The head of a 16-bit mono wav whose length is not known yet; players read until the stream ends."""
    unknown = b"\xff\xff\xff\xff"
    byte_rate = (rate_hz * 2).to_bytes(4, "little")
    format_chunk = b"fmt \x10\0\0\0\x01\0\x01\0" + rate_hz.to_bytes(4, "little") + byte_rate + b"\x02\0\x10\0"
    return b"RIFF" + unknown + b"WAVE" + format_chunk + b"data" + unknown
