"""Sound files from strangers: what is taken, and what comes of the rest."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO

import numpy as np
import pytest

from realtime_server import until
from sound_files import contained, encoded, flac_bomb, lying_wav, steady, wav, whistle
from voxtral_voice import audio
from voxtral_voice.decode import decoded
from voxtral_voice.decode_child import samples
from voxtral_voice.types import HEAR_HZ, Pcm, VoiceError

WHISTLES: dict[str, Callable[[], bytes]] = {
    "wav": lambda: encoded(whistle(2), "wav"),  # the head does not know how long it is
    "mp3": lambda: encoded(whistle(2), "mp3"),
    "flac": lambda: encoded(whistle(2), "flac"),
    "ogg": lambda: encoded(whistle(2), "opus"),
    "m4a": lambda: contained(whistle(2, 48_000), "mp4", "aac"),
    "lossless m4a": lambda: contained(whistle(2, 44_100), "mp4", "alac", 44_100),
    "webm": lambda: contained(whistle(2, 48_000), "webm", "libopus"),
    "mp3 of 44.1 kHz": lambda: contained(whistle(2, 44_100), "mp3", "libmp3lame", 44_100),
    "8 bit": lambda: wav(whistle(2), subtype="PCM_U8"),
    "24 bit": lambda: wav(whistle(2), subtype="PCM_24"),
    "32 bit": lambda: wav(whistle(2), subtype="PCM_32"),
    "float": lambda: wav(whistle(2), subtype="FLOAT"),
    "double": lambda: wav(whistle(2), subtype="DOUBLE"),
    "mu-law": lambda: wav(whistle(2, 8_000), 8_000, "ULAW"),
    "six channels": lambda: wav(np.repeat(whistle(2)[:, None], 6, axis=1)),
}


def decoded_here(data: bytes, longest_s: float = 60) -> Pcm:
    """In this process: these files are our own."""
    return np.concatenate(list(samples(io.BytesIO(data), longest_s)))


def stored(data: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    file.write(data)
    file.flush()
    return file


async def test_who_shares_the_loop_does_not_wait_for_the_samples_to_be_counted_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from_pcm16, threads = audio.from_pcm16, list[threading.Thread]()

    def watched(data: bytes) -> Pcm:
        threads.append(threading.current_thread())
        return from_pcm16(data)

    monkeypatch.setattr(audio, "from_pcm16", watched)
    with stored(wav(steady(1))) as file:
        assert len(await decoded(file, 60)) == HEAR_HZ
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize("name", WHISTLES)
def test_what_people_send_is_heard(name: str) -> None:
    pcm = decoded_here(WHISTLES[name]())
    assert len(pcm) / HEAR_HZ == pytest.approx(2, abs=0.1)
    spectrum = np.abs(np.fft.rfft(pcm[: 2 * HEAR_HZ - 2000]))
    assert spectrum.argmax() / (2 - 0.125) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(np.square(pcm[4000:-4000]))) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_a_file_cut_short_is_heard_as_far_as_it_goes() -> None:
    for name in ("wav", "mp3", "flac", "ogg", "webm"):
        data = WHISTLES[name]()
        assert 0.3 < len(decoded_here(data[: len(data) // 2])) / HEAR_HZ < 1.5, name


RNG = np.random.default_rng(0)
NOISE = RNG.bytes(50_000)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "neither wav"),
    "noise": (b"\0" + NOISE, "neither wav"),
    "a playlist": (b"#EXTM3U\nhttp://127.0.0.1:6379/x.wav\n", "neither wav"),
    "a list of files": (b"ffconcat version 1.0\nfile /etc/passwd\n", "neither wav"),
    "a session description": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "neither wav"),
    "mp3 in name alone": (b"ID3\x04\0\0\0\0\0\0" + NOISE, ""),
    "ogg in name alone": (b"OggS" + NOISE, "cannot be read as ogg"),
    "m4a in name alone": (b"\0\0\0\x18ftyp" + NOISE, "cannot be read as mov"),
    "webm in name alone": (b"\x1aE\xdf\xa3" + NOISE, "cannot be read as matroska"),
    "half a head": (lying_wav()[:30], "cannot be read as wav"),
    "a head alone": (lying_wav()[:44], "no sound"),
    "no channels": (lying_wav(channels=0), "cannot be read as wav"),
    "1000 channels": (lying_wav(channels=1000), "cannot be read as wav"),
    "1 Hz": (lying_wav(hz=1), "1 Hz"),
    "4 GHz": (lying_wav(hz=0xFFFFFFFF), "cannot be read as wav"),
    "99 bits": (lying_wav(bits=99), "not taken"),
    "not numbers": (wav(np.full(1600, np.nan, np.float32), subtype="FLOAT"), "not numbers"),
    "a picture": (contained(whistle(0.1, 48_000), "mp4", "aac")[:40] + NOISE, "cannot be read as mov"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recording_is_refused_in_words(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(VoiceError) as refused:
        decoded_here(data)
    assert refused.value.code == "invalid_audio"
    assert reason in refused.value.message


def test_what_is_far_too_loud_is_clipped() -> None:
    pcm = decoded_here(wav(np.full(24_000, 1e30, np.float32), subtype="FLOAT"))
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() < 1.3  # a step rings in the filter


async def test_another_process_decodes_and_says_what_is_wrong() -> None:
    with stored(WHISTLES["m4a"]()) as file:
        file.read(100)  # wherever it stands
        pcm = await decoded(file, 60)
    assert pcm.dtype == np.float32
    assert len(pcm) / HEAR_HZ == pytest.approx(2, abs=0.1)
    with stored(b"noise" * 1000) as file, pytest.raises(VoiceError) as refused:
        await decoded(file, 60)
    assert (refused.value.code, refused.value.param) == ("invalid_audio", "file")


async def test_a_bomb_is_left_alone_once_it_is_too_long() -> None:
    bomb = flac_bomb(hours=2)
    assert len(bomb) < 250_000
    with stored(bomb) as file, pytest.raises(VoiceError) as refused:
        await decoded(file, 600)
    assert refused.value.code == "turn_too_long"


CONFINED = """
import resource, voxtral_voice.decode_child as child
child._confine()
try:
    bytearray(2 << 30)
    raise SystemExit("it got 2 GiB")
except MemoryError:
    pass
try:
    with open({path!r}, "wb") as file:
        file.write(b"x")
    raise SystemExit("it wrote a file")
except OSError:
    pass
assert resource.getrlimit(resource.RLIMIT_CPU)[1] <= 60
print("confined")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS does not keep to a limit of memory")
def test_the_process_has_little_memory_and_writes_no_files(tmp_path: os.PathLike[str]) -> None:
    program = CONFINED.format(path=os.path.join(tmp_path, "x"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "confined\n", done.stderr


CHILDREN: dict[str, str] = {
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "raise RuntimeError('what a file')",
    "mad": "import sys; sys.stderr.write('[1, 2]'); sys.exit(3)",
    "endless": "import sys\nwhile True: sys.stdout.buffer.write(bytes(65536))",
    "told": "import os, sys; sys.exit(3 if 'VOXTRAL_API_KEY' in os.environ else 0)",
}


@pytest.fixture
def child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Another program in the decoder's place; returns where its process id is kept."""
    start, started = asyncio.create_subprocess_exec, list[int]()

    async def other(*command: str, **more: object) -> asyncio.subprocess.Process:
        process = await start(sys.executable, "-c", CHILDREN[request.param], **more)  # type: ignore[arg-type]
        started.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", other)
    monkeypatch.setenv("VOXTRAL_API_KEY", "a secret")
    return started


@pytest.mark.parametrize("child", ["killed", "crashed", "mad"], indirect=True)
async def test_a_decoder_that_dies_is_an_answer(child: list[int]) -> None:
    with stored(b"RIFF") as file, pytest.raises(VoiceError) as refused:
        await decoded(file, 1)
    assert refused.value.code == "invalid_audio"


@pytest.mark.parametrize("child", ["told"], indirect=True)
async def test_a_decoder_knows_no_secret(child: list[int]) -> None:
    with stored(b"RIFF") as file:
        assert len(await decoded(file, 1)) == 0


@pytest.mark.parametrize("child", ["endless"], indirect=True)
async def test_a_decoder_ends_with_the_request(child: list[int]) -> None:
    with stored(b"RIFF") as file:
        asking = asyncio.create_task(decoded(file, 1))
        await until(lambda: child)
        await asyncio.sleep(0.3)  # it writes faster than anybody reads
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, 60)
    with pytest.raises(ProcessLookupError):
        os.kill(child[0], 0)


def test_the_steady_tone_of_the_scripts_survives() -> None:
    assert decoded_here(wav(steady(1))).max() == pytest.approx(0.42, abs=0.05)
