"""Sound files as people send them, and as attackers do."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream

from voxtral_voice import audio
from voxtral_voice.encode import Encoding, encoder
from voxtral_voice.types import Pcm

HZ = 24_000


def steady(seconds: float, level: float = 0.42, hz: int = HZ) -> Pcm:
    """What the scripted engines hear as word42."""
    pcm = np.full(round(seconds * hz), level, np.float32)
    fade = np.linspace(0, 1, hz // 100, dtype=np.float32)  # a step would ring in the resampler: another word
    pcm[: len(fade)] *= fade
    pcm[-len(fade) :] *= fade[::-1]
    return pcm


def whistle(seconds: float, hz: int = HZ) -> Pcm:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * hz)) / hz)).astype(np.float32)


def encoded(pcm: Pcm, encoding: Encoding) -> bytes:
    """As this program's own encoders make it, at 24 kHz."""
    made = encoder(encoding, HZ)
    return made.push(pcm) + made.finish()


def contained(pcm: Pcm, muxer: str, codec: str, hz: int = 48_000) -> bytes:
    """In stereo, as telephones and browsers send it: ("mp4", "aac"), ("webm", "libopus"). `pcm`: at `hz`."""
    out = io.BytesIO()
    with av.open(out, "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=hz)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "stereo"
        both = np.repeat(np.frombuffer(audio.to_pcm16(pcm), "<i2"), 2)[None]
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = hz, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def wav(samples: Pcm, hz: int = HZ, subtype: str = "PCM_16") -> bytes:
    """`samples`: shape [samples] or [samples, channels]."""
    out = io.BytesIO()
    soundfile.write(out, samples, hz, format="WAV", subtype=subtype)
    return out.getvalue()


def lying_wav(*, channels: int = 1, hz: int = HZ, bits: int = 16, data_bytes: int = 0xFFFFFFFF) -> bytes:
    """A second of sound under a head that says what it likes."""
    head = struct.pack("<4sI4s4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16)
    head += struct.pack("<HHIIHH", 1, channels, hz, (hz * 2) & 0xFFFFFFFF, 2, bits)
    return head + struct.pack("<4sI", b"data", data_bytes) + audio.to_pcm16(steady(1))


def flac_bomb(hours: float) -> bytes:
    """Silence: 90 kB an hour, which decodes to gigabytes."""
    out = io.BytesIO()
    soundfile.write(out, np.zeros(round(8_000 * hours * 3600), np.int16), 8_000, format="FLAC")
    return out.getvalue()
