"""Every engine by itself: how long it takes, and by how many threads.

    python -m bench.components [--audio DIR] [--quick] [--json FILE]

RTF: time taken over the length of the sound that went in or came out; below 1 is faster than real time. Nothing else of
this program runs meanwhile, so a conversation, where they share the cores, is slower.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench import clips
from bench.report import Report, arguments
from voxtral_voice import audio, config
from voxtral_voice.endpoint import SmartTurn
from voxtral_voice.engines.kokoro import Kokoro
from voxtral_voice.engines.kokoro_onnx import KokoroOnnx
from voxtral_voice.engines.kokoro_torch import KokoroTorch
from voxtral_voice.engines.phonemes import Phonemizer
from voxtral_voice.engines.smollm2 import SmolLM2
from voxtral_voice.engines.whisper import Whisper
from voxtral_voice.models.store import Store, from_config
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, Cancel, Delta, Message, Pcm, ReplySettings, TextPart, Voice
from voxtral_voice.vad import SileroDetector

_CLAUSES = ("I heard you.", "You said that the train to the coast leaves at a quarter past nine in the morning.")
_THREADS = (1, 2)


class Bench:
    def __init__(self, report: Report, store: Store, n: int) -> None:
        self._report, self._n = report, n
        self._folder: Callable[[str], Path] = store.fetch
        self._bar = tqdm(desc="components", unit="engine")

    def row(self, name: str, function: Callable[[], object], sound_s: float | None = None, calls: int = 1) -> None:
        """`function` so many times, after one time that is not counted; `calls`: what it does at once."""
        self._bar.set_postfix_str(name)
        function()
        found = []
        for _ in range(self._n):
            started = time.perf_counter()
            function()
            found.append((time.perf_counter() - started) * 1000 / calls)
        self._report.values(name, found)
        if sound_s is not None:
            self._report.values(f"{name}: RTF", [each * calls / 1000 / sound_s for each in found], "x real time")
        self._bar.update()

    def turns(self, spoken: Pcm) -> None:
        detector, windows = SileroDetector(self._folder("silero")), np.split(spoken[: 31 * 512], 31)

        def listen() -> None:
            state = detector.start()
            for window in windows:
                _, state = detector.probability(window, state)

        self.row("silero, a window of 32 ms", listen, 31 * 512 / HEAR_HZ, calls=31)
        for threads in _THREADS:
            endpoint = SmartTurn(self._folder("smart_turn"), threads)
            self.row(f"smart-turn, {threads} thread(s)", lambda model=endpoint: model.probability(spoken))  # type: ignore[misc]

    def hearing(self, spoken: Pcm) -> None:
        seconds = len(spoken) / HEAR_HZ
        for threads in _THREADS:
            whisper = Whisper(self._folder("whisper_english"), threads=threads)
            name = f"Whisper tiny.en, {seconds:.1f} s, {threads} thread(s)"
            self.row(name, lambda model=whisper: model.transcribe(spoken, "en"), seconds)  # type: ignore[misc]

    def answering(self) -> None:
        torch.set_num_threads(1)
        model = SmolLM2(self._folder("smollm2"), context_tokens=2048)
        settings = ReplySettings("Answer in one or two short sentences.", language="en", max_tokens=24)
        message = (Message("user", (TextPart("How old is the Brooklyn Bridge?"),)),)

        def first_words() -> None:
            next(each for each in model.reply(message, settings, Cancel()) if isinstance(each, Delta))

        self.row("SmolLM2, prompt known, first words", first_words)
        self.row("SmolLM2, a whole answer", lambda: list(model.reply(message, settings, Cancel())))

    def speaking(self) -> None:
        choice = config.load().voice
        onnx, voices = self._folder("kokoro_onnx"), self._folder("kokoro_voices")
        phonemizer = Phonemizer()
        try:
            for clause in _CLAUSES:
                name = f"phonemes, {len(clause.split())} words"
                self.row(name, lambda text=clause: phonemizer.phonemes(text, "af_heart"))  # type: ignore[misc]
        finally:
            phonemizer.close()
        for threads in _THREADS:
            self._voice(f"Kokoro onnx int8, {threads} thread(s)", KokoroOnnx(onnx, voices, choice, threads=threads))
        for dtype in (torch.float32, torch.bfloat16):
            for threads in _THREADS:
                engine = KokoroTorch(onnx, voices, choice, threads=threads, dtype=dtype)
                self._voice(f"Kokoro torch {str(dtype).rpartition('.')[2]}, {threads} thread(s)", engine)

    def _voice(self, name: str, engine: Kokoro) -> None:
        def speak(clause: str) -> float:
            return sum(len(pcm) for pcm in engine.speak(clause, Voice("af_heart"), Cancel())) / SPEAK_HZ

        try:
            for clause in _CLAUSES:
                sound_s = speak(clause)
                label = f"{name}, {sound_s:.1f} s"
                self.row(label, lambda text=clause: speak(text), sound_s)  # type: ignore[misc]
        finally:
            engine.close()

    def plumbing(self) -> None:
        resampler = audio.Resampler(24_000, HEAR_HZ)
        frame = np.zeros(480, np.float32)
        self.row("24 -> 16 kHz, a frame of 20 ms", lambda: [resampler.push(frame) for _ in range(50)], calls=50)


async def main() -> int:
    parser = arguments(__doc__ or "")
    chosen = parser.parse_args()
    report = Report("components", {"audio": "recorded" if chosen.audio else "synthesised"})
    spoken = (await clips.of(chosen.audio))[0]
    pcm = spoken.pcm[: round(min(spoken.speech_end_ms / 1000, 8.0) * HEAR_HZ)]
    bench = Bench(report, from_config(config.load()), 2 if chosen.quick else 8)
    bench.plumbing()
    bench.turns(pcm)
    bench.hearing(pcm)
    bench.answering()
    bench.speaking()
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
