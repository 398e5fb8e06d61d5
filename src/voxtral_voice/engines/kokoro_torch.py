"""Kokoro-82M on torch: the build for a GPU, and for a CPU that multiplies in bfloat16."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import nn

from voxtral_voice import config
from voxtral_voice.config import VoiceChoice
from voxtral_voice.engines import heap, kokoro_weights
from voxtral_voice.engines.device_faults import device_faults
from voxtral_voice.engines.graphs import Captured
from voxtral_voice.engines.kokoro import Kokoro, tokens
from voxtral_voice.engines.kokoro_network import FRAME_SAMPLES, Margins, Network
from voxtral_voice.engines.packed import PackedConv, PackedLinear
from voxtral_voice.types import SPEAK_HZ, Cancel, Pcm

log = logging.getLogger(__name__)

_FRAME_MS = FRAME_SAMPLES * 1000 // SPEAK_HZ
_AFTER_FRAMES = 3  # one that a last sound may reach into, two that stand for the silence in the norms
_BUCKET_FRAMES = 8  # 200 ms: few enough shapes to record, too little to be heard as slower speech
_USUAL_FRAMES = range(48, 257, _BUCKET_FRAMES)  # clauses of 1.2 to 6.4 s
_STEPS = (nn.Conv1d, PackedConv, nn.ConvTranspose1d, nn.LSTM, nn.Linear, PackedLinear)
_TRIAL_FRAMES = 48
_TRIALS = 3
_TRIAL_S = 3.0  # no further trial begins after this long, on a busy machine
_WORTH = 0.9  # the share of float32's time that bfloat16 must stay below, since it costs accuracy


class _Cancelled(Exception):
    """Leaves a forward pass between two of its modules."""


class _Brake:
    """Called before each step of a forward pass; ends it once its `cancel` is set."""

    cancel = Cancel()

    def __call__(self, *_: object) -> None:
        if self.cancel.is_set():
            raise _Cancelled


class TorchBuild:
    """The network in torch (`kokoro.Build`)."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        threads: int = 0,
        bucket_frames: int | None = None,
        recorded_frames: Sequence[int] | None = None,
        margins: Margins | None = None,
    ) -> None:
        """`folder`: what `kokoro_weights.load` reads. `threads`: CPU threads; 0 leaves torch's own number.

        `dtype`: None is float32 on CUDA, and on a CPU the faster of float32 and bfloat16 there. `bucket_frames`:
        clauses are drawn out to a multiple of that many frames (of 25 ms), so that few shapes occur; 0 is off, None is
        on for CUDA only. `recorded_frames`: numbers of frames, each in a bucket of its own, whose computation is
        prepared here, on CUDA as a graph; None is the usual clauses' on CUDA, none on a CPU. `margins`: leave out the
        silence beyond them, for a CPU without recordings.
        Raises VoiceError("model_failed").
        """
        self._device = torch.device(device)
        cuda = self._device.type == "cuda"
        if cuda:  # before what Voxtral has asked for: the first sound is awaited, further words are not
            torch.cuda.set_stream(torch.cuda.Stream(self._device, priority=-1))  # type: ignore[no-untyped-call]
        self._threads = threads
        self._margins = margins
        self._brake = _Brake()
        self._bucket_frames = bucket_frames if bucket_frames is not None else _BUCKET_FRAMES * cuda
        with _cpu_threads(threads):
            self._network = self._load(folder, dtype)
        heap.trim()
        for module in self._network.modules():
            if isinstance(module, _STEPS):
                module.register_forward_pre_hook(self._brake)
        if recorded_frames is None:
            recorded_frames = _USUAL_FRAMES if cuda else ()
        self._recordings = self._record(recorded_frames)

    @property
    def dtype(self) -> torch.dtype:
        return self._network.dtype

    def synthesize(self, part: str, style: Pcm, speed: float, cancel: Cancel) -> Pcm | None:
        """As `kokoro.Build` says. A set `cancel` stops it at the next module; on CUDA, before the sound.

        Raises VoiceError("out_of_memory").
        """
        self._brake.cancel = cancel
        try:
            with device_faults("kokoro"), _cpu_threads(self._threads):
                return self._synthesize(part, style, speed)
        except _Cancelled:
            return None

    @torch.inference_mode()
    def _synthesize(self, part: str, style: Pcm, speed: float) -> Pcm:
        ids = torch.tensor([tokens(part)], device=self._device)
        manner = torch.from_numpy(style).to(self._device)
        said = self._network.read(ids, manner, speed)
        durations = drawn_out(said.durations.tolist(), self._bucket_frames)
        self._brake()
        if self._margins is None:
            compute = self._recordings.get(sum(durations), self._network.sound)
            return compute(*said.stretched(durations), manner).cpu().numpy()
        return self._network.sound(*said.stretched(durations), manner, self._margins).numpy()

    def _load(self, folder: Path, dtype: torch.dtype | None) -> Network:
        if dtype is None and self._device.type == "cpu":
            return _faster(folder)
        pack = self._device.type == "cpu"
        return Network(kokoro_weights.load(folder), dtype or torch.float32, pack=pack).to(self._device)

    def _record(self, sizes: Sequence[int]) -> dict[int, Captured]:
        graph = self._device.type == "cuda"
        pool = torch.cuda.graph_pool_handle() if graph else None  # one at a time runs, so they can share their memory
        return {
            frames: Captured(self._network.sound, *self._network.silence(frames), graph=graph, pool=pool)
            for frames in sorted(sizes, reverse=True)  # the largest first, so that the others fit into its memory
        }


class KokoroTorch(Kokoro):
    """Kokoro on torch, for every session."""

    def __init__(
        self,
        folder: Path,
        voices: Path,
        choice: VoiceChoice | None = None,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        threads: int = 0,
        bucket_frames: int | None = None,
        recorded_frames: Sequence[int] | None = None,
    ) -> None:
        """The arguments, and what is raised, as `Kokoro` and `TorchBuild` say.

        On a CPU, without recordings or buckets, the silence that is trimmed anyway is not worked out.
        """
        if choice is None:
            choice = config.load().voice
        margins = None
        if device == "cpu" and not recorded_frames and not bucket_frames:
            margins = margins_for(choice)
        build = TorchBuild(
            folder,
            device=device,
            dtype=dtype,
            threads=threads,
            bucket_frames=bucket_frames,
            recorded_frames=recorded_frames,
            margins=margins,
        )
        super().__init__(build, voices, choice)


def margins_for(choice: VoiceChoice) -> Margins:
    """What of the silence is worked out: before the words what is kept, behind them what may still be heard.

    The rest of the pause behind a clause is silence like any other (`kokoro.trimmed`).
    """
    return Margins(-(-choice.trim_keep_ms // _FRAME_MS) + 1, _AFTER_FRAMES)


def drawn_out(durations: Sequence[int], multiple: int) -> list[int]:
    """Frames of each token, lengthened in proportion until the sum is a multiple of `multiple` (0: as they are).

    Silence cannot take up the difference instead: zeros behind the end change everything before it through the norms
    over time, and a closing pad of 8 frames and more is filled with a breath (measured: up to 20 % of the peak).
    """
    frames = sum(durations)
    wanted = frames + (-frames % multiple if multiple else 0)
    ends = [round(end * wanted / frames) for end in accumulate(durations, initial=0)]
    return [end - start for start, end in pairwise(ends)]


def _faster(folder: Path) -> Network:
    """The network in float32 or bfloat16, whichever this CPU runs faster."""
    plain = Network(kokoro_weights.load(folder), pack=True)
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # emulated, it takes seconds a clause
        return plain
    half = Network(kokoro_weights.load(folder), torch.bfloat16, pack=True)
    took: dict[Network, list[float]] = {plain: [], half: []}
    begin = time.perf_counter()
    for trial in range(1 + _TRIALS):
        if trial > 1 and time.perf_counter() - begin > _TRIAL_S:
            break
        for network, times in took.items():
            start = time.perf_counter()
            with torch.inference_mode():
                network.sound(*network.silence(_TRIAL_FRAMES))
            times.append(time.perf_counter() - start)
    slow, quick = (statistics.median(times[1:]) for times in took.values())
    log.info("Kokoro on torch: 1.2 s of sound in %.0f ms in float32, %.0f ms in bfloat16", slow * 1e3, quick * 1e3)
    return half if quick < _WORTH * slow else plain


@contextmanager
def _cpu_threads(count: int) -> Iterator[None]:
    """torch's number of threads is the process's, and other models on this thread want theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
