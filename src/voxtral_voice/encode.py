"""Sound in the containers that clients ask for, made piece by piece: what has gone in comes out, as far as it is done.

FFmpeg (PyAV) does mp3, opus, flac and aac; the state of its encoder goes on from piece to piece, so that one stream
made of many clauses has no seams. It only ever sees samples of our own making.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream

from voxtral_voice import audio
from voxtral_voice.types import Pcm

Encoding = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


class Encoder(Protocol):
    """One stream of mono sound. Blocking: a second of sound takes up to 20 ms."""

    def push(self, pcm: Pcm) -> bytes:
        """`pcm`: shape [samples], the next of it. Returns what can be sent, which may be nothing yet."""

    def finish(self) -> bytes:
        """The end of the stream."""


@dataclass(frozen=True, slots=True)
class _Container:
    media_type: str
    muxer: str
    codec: str
    bit_rate: int | None
    """Bits per second of speech at 24 kHz; None where nothing is thrown away."""
    options: Mapping[str, str]


_CONTAINERS: Mapping[str, _Container] = MappingProxyType(
    {
        # The head of a Xing frame would have to be written again at the end.
        "mp3": _Container("audio/mpeg", "mp3", "libmp3lame", 64_000, {"write_xing": "0", "id3v2_version": "0"}),
        # Pages of 0.2 s: the usual second would hold the beginning back.
        "opus": _Container("audio/ogg; codecs=opus", "ogg", "libopus", 32_000, {"page_duration": "200000"}),
        "aac": _Container("audio/aac", "adts", "aac", 64_000, {}),
        "flac": _Container("audio/flac", "flac", "flac", None, {}),
    }
)


def media_type(encoding: Encoding, rate_hz: int) -> str:
    """The Content-Type."""
    match encoding:
        case "wav":
            return "audio/wav"
        case "pcm":
            return f"audio/pcm;rate={rate_hz}"
        case _:
            return _CONTAINERS[encoding].media_type


def encoder(encoding: Encoding, rate_hz: int) -> Encoder:
    """A stream at `rate_hz`: 16-bit little-endian samples for wav and pcm, else what FFmpeg makes of them."""
    if encoding in ("wav", "pcm"):
        return _Plain(audio.wav_header(rate_hz) if encoding == "wav" else b"")
    return _Encoded(_CONTAINERS[encoding], rate_hz)


class _Plain:
    def __init__(self, head: bytes) -> None:
        self._head = head

    def push(self, pcm: Pcm) -> bytes:
        head, self._head = self._head, b""
        return head + audio.to_pcm16(pcm)

    def finish(self) -> bytes:
        return b""


class _Encoded:
    def __init__(self, kind: _Container, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._out = _Out()
        options = {**kind.options, "flush_packets": "1"}
        self._muxer = av.open(self._out, "w", format=kind.muxer, options=options)
        stream = self._muxer.add_stream(kind.codec, rate=rate_hz)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "mono"
        stream.codec_context.thread_count = 1
        if kind.bit_rate is not None:
            stream.codec_context.bit_rate = kind.bit_rate
        self._stream = stream
        self._samples = 0

    def push(self, pcm: Pcm) -> bytes:
        samples = np.frombuffer(audio.to_pcm16(pcm), "<i2")[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate_hz, self._samples
        self._samples += len(pcm)
        self._muxer.mux(self._stream.encode(frame))
        return self._out.take()

    def finish(self) -> bytes:
        self._muxer.mux(self._stream.encode(None))
        self._muxer.close()
        return self._out.take()


class _Out:
    """What FFmpeg writes to. It cannot seek, so nothing that was taken is ever changed."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
