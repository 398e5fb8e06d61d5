"""The process that decodes one sound file: python -m voxtral_voice.decode_child LONGEST_S <FILE >PCM

File in at stdin, 16-bit mono samples at 16 kHz out at stdout. Exit code 0, or 3 with one line of JSON on stderr:
{"code", "message"}. FFmpeg's demuxers are where sound files attack: here it can use so much memory, so much of the
processor's time, and neither files nor addresses; and only the demuxers and decoders named below see the data.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import IO

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from voxtral_voice.types import HEAR_HZ, VoiceError

REFUSED = 3

_MEMORY_BYTES = 1 << 30  # address space; 0.4 GiB of it are Python and its libraries
_CPU_S = 60  # ten minutes of any format take below 10
_OPEN_FILES = 16
_NICENESS = 5  # a conversation comes first
_RATES_HZ = range(4_000, 384_001)
_CHANNELS = 64

# What a file begins with -> FFmpeg's name of its demuxer. Named, so that no other one even looks at it.
_HEADS = ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska"), (b"ID3", "mp3"))
_DECODERS = (
    "flac,mp3,mp3float,opus,libopus,vorbis,aac,alac,"
    "pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw"
)
_OPTIONS = {"codec_whitelist": _DECODERS, "protocol_whitelist": "", "enable_drefs": "0"}


def main(longest_s: float) -> int:
    """Returns the exit code."""
    _confine()
    try:
        with open(0, "rb", buffering=0, closefd=False) as source, open(1, "wb", closefd=False) as out:
            for pcm in samples(source, longest_s):
                out.write((np.clip(pcm, -1.0, 32767 / 32768) * 32768.0).astype("<i2").tobytes())
    except VoiceError as error:
        sys.stderr.write(json.dumps({"code": error.code, "message": error.message}) + "\n")
        return REFUSED
    return 0


def samples(source: IO[bytes], longest_s: float) -> Iterator[npt.NDArray[np.float32]]:
    """The first sound track, mono, 16 kHz, piece by piece. Raises VoiceError: invalid_audio, turn_too_long."""
    resampler: tuple[int, soxr.ResampleStream] | None = None
    some, seconds, damaged, whole = False, 0.0, 0, 0
    for frame in _frames(source):
        if frame is None:
            damaged += 1
            continue
        whole += 1
        hz, pcm = frame.sample_rate, _mono(frame)
        seconds += len(pcm) / hz
        if seconds > longest_s:
            raise VoiceError("turn_too_long", f"the sound is longer than the {longest_s:g} s that are taken")
        if not np.isfinite(pcm).all():
            raise VoiceError("invalid_audio", "the sound holds values that are not numbers")
        if resampler is None or resampler[0] != hz:
            if resampler is not None:
                yield resampler[1].resample_chunk(_NOTHING, last=True)
            resampler = hz, soxr.ResampleStream(hz, HEAR_HZ, 1, dtype="float32")
        some = some or len(pcm) > 0
        yield resampler[1].resample_chunk(np.clip(pcm, -1.0, 1.0))
    if resampler is None or not some:
        raise VoiceError("invalid_audio", "there is no sound in the file")
    if damaged > whole:
        raise VoiceError("invalid_audio", "the file is damaged: most of it cannot be decoded")
    yield resampler[1].resample_chunk(_NOTHING, last=True)


_NOTHING = np.zeros(0, np.float32)


def _frames(source: IO[bytes]) -> Iterator[AudioFrame | None]:
    """What is decoded, as it comes; None for a packet that is damaged."""
    kind = _kind(source.read(16))
    source.seek(0)
    try:
        with av.open(source, "r", format=kind, options=_OPTIONS, metadata_errors="replace") as container:
            track = next(iter(container.streams.audio), None)
            if track is None:
                raise VoiceError("invalid_audio", "there is no sound in the file")
            if track.codec_context is None:
                raise VoiceError("invalid_audio", "the sound is coded in a way that is not taken")
            track.codec_context.thread_count = 1
            for packet in container.demux(track):
                try:
                    frames = list(_decoded(track, packet))
                except av.error.InvalidDataError:
                    yield None
                else:
                    yield from frames
    except (av.error.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
        raise VoiceError("invalid_audio", f"the file cannot be read as {kind}: {reason}") from None


def _decoded(track: AudioStream, packet: av.Packet[AudioStream]) -> Iterator[AudioFrame]:
    for frame in track.decode(packet):
        if frame.sample_rate not in _RATES_HZ or not 1 <= frame.layout.nb_channels <= _CHANNELS:
            raise VoiceError(
                "invalid_audio",
                f"{frame.layout.nb_channels} channels of {frame.sample_rate} Hz are not a recording of speech",
            )
        yield frame


def _kind(head: bytes) -> str:
    """FFmpeg's name of the container. Raises VoiceError for what none of ours begins with."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "mov"
    for beginning, kind in _HEADS:
        if head.startswith(beginning):
            return kind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:  # a frame of MPEG, layer I-III
        return "mp3"
    raise VoiceError("invalid_audio", "the file is neither wav, flac, mp3, ogg, opus, m4a nor webm")


def _mono(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Shape [samples], the mean of all channels, in [-1, 1] where the file keeps to it."""
    raw = frame.to_ndarray()
    channels = raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T
    if raw.dtype.kind == "u":
        channels = channels.astype(np.float32) - 128.0
    scale = 1.0 if raw.dtype.kind == "f" else float(1 << (8 * raw.dtype.itemsize - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        mixed: npt.NDArray[np.float32] = (channels.mean(axis=0, dtype=np.float64) / scale).astype(np.float32)
    return mixed


def _confine() -> None:
    """From here on: no more than this. What the libraries need to be loaded is behind us."""
    os.nice(_NICENESS)
    av.logging.set_level(None)
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    code = main(float(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # the libraries take longer to tear down than a short file to decode
