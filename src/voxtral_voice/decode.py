"""Sound files from strangers: decoded by a process of its own, which is small, poor and gone afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from typing import IO

from voxtral_voice import audio
from voxtral_voice.types import HEAR_HZ, Pcm, VoiceError

log = logging.getLogger(__name__)

_WALL_S = 180.0  # the child has less of the processor's time; on a busy machine it waits for it
_READ_BYTES = 1 << 16
_SAMPLE_BYTES = 2
_COMPLAINT_BYTES = 1 << 14
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Of the environment: no key and no token of ours."""


async def decoded(file: IO[bytes], longest_s: float) -> Pcm:
    """The first sound track of wav, flac, mp3, ogg, m4a or webm, mixed to mono: shape [samples], 16 kHz.

    `file`: open, with a descriptor, from its first byte. At most `longest_s` seconds are decoded.
    Raises VoiceError: invalid_audio, turn_too_long.
    """
    file.seek(0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "voxtral_voice.decode_child", f"{longest_s:g}"),
        stdin=file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: text for name in _PASSED_ON if (text := os.environ.get(name))},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    most_bytes = round(longest_s * HEAR_HZ * _SAMPLE_BYTES) + _READ_BYTES
    try:
        async with asyncio.timeout(_WALL_S), asyncio.TaskGroup() as reading:
            sound = reading.create_task(_read(process.stdout, most_bytes))
            complaint = reading.create_task(_read(process.stderr, _COMPLAINT_BYTES))
        await process.wait()
    except TimeoutError:
        raise VoiceError("invalid_audio", f"the sound could not be decoded in {_WALL_S:g} s", param="file") from None
    finally:
        if process.returncode is None:
            process.kill()
        # asyncio tells of a process's end only when its pipes have been read to theirs, and stops reading a full one.
        await asyncio.gather(_read(process.stdout, 0), _read(process.stderr, 0))
        await process.wait()
    if process.returncode != 0:
        raise _refusal(process.returncode, complaint.result())
    return await asyncio.to_thread(audio.from_pcm16, sound.result())  # 10 min are 40 MB: conversations go on meanwhile


async def _read(pipe: asyncio.StreamReader, most_bytes: int) -> bytes:
    """All that comes; the child must not stop at a full pipe, so what is too much is read and dropped."""
    read = bytearray()
    while data := await pipe.read(_READ_BYTES):
        read += data[: most_bytes - len(read)]
    return bytes(read)


def _refusal(code: int | None, complaint: bytes) -> VoiceError:
    try:
        said = json.loads(complaint.splitlines()[-1])
        return VoiceError(said["code"], said["message"], param="file")
    except (ValueError, IndexError, KeyError, TypeError):  # killed by a limit, or by the file
        log.info("a decoder ended with %s: %s", code, complaint[-500:].decode(errors="replace"))
        return VoiceError(
            "invalid_audio", "the sound cannot be decoded with the time and memory there is for it", param="file"
        )
