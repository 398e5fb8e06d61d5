"""Every stage between the end of a turn and the first sound, on a GPU, beside the least time it could take.

    python -m bench.gpu [--size full|tiny] [--device cuda|cpu] [--weights bf16 int8] [--quick] [--json FILE]

Voxtral has random weights, made on the device: time does not depend on them. Kokoro is the real one where its weights
are in the store. On a CPU the same runs without graphs, tiny unless --size says otherwise.
"""

from __future__ import annotations

import gc
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from bench import floors, random_voxtral
from bench.report import Report, arguments
from bench.stopwatch import times_ms, wait
from voxtral_voice import config
from voxtral_voice.engines.voxtral.engine import Voxtral
from voxtral_voice.engines.voxtral.prompt import Clip, Prompt, conversation
from voxtral_voice.engines.voxtral.sampling import Chooser
from voxtral_voice.engines.voxtral.tokens import Tokens
from voxtral_voice.models.store import from_config
from voxtral_voice.types import HEAR_HZ, SPEAK_HZ, AudioPart, Cancel, Message, Voice

_CLAUSE = "Sure, I can help you with that."
_TURN_S = 3.0
_SLOTS, _CONTEXT_TOKENS = 4, 4096
"""Conversations kept, and tokens of each: what the profile of a card of 16 GB has."""


@dataclass(frozen=True)
class Setting:
    """One way to run."""

    size: random_voxtral.Size
    device: torch.device
    weights: Literal["bf16", "int8"]
    graphs: bool

    def __str__(self) -> str:
        return f"{self.weights} {'graph' if self.graphs else 'eager'}"


class Stages:
    """Voxtral's, one by one, over one turn of the user's."""

    def __init__(self, setting: Setting, tokens: Tokens) -> None:
        started = time.perf_counter()
        model = random_voxtral.model(setting.size, str(setting.device)).to(torch.bfloat16)
        self.build_s = time.perf_counter() - started
        started = time.perf_counter()
        self.voxtral = Voxtral(
            model,
            tokens,
            device=str(setting.device),
            weights=setting.weights,
            slots=_SLOTS,
            context_tokens=_CONTEXT_TOKENS,
            graphs=setting.graphs,
        )
        _release(setting.device)  # what making the weights took is not what running them takes
        wait(setting.device)
        self.prepare_s = time.perf_counter() - started
        self.device = setting.device
        self.clip = Clip.of(np.random.default_rng(0).normal(0, 0.1, int(_TURN_S * HEAR_HZ)).astype(np.float32))
        self.prompt = _prompt(tokens, self.clip)

    def encoder(self) -> torch.Tensor:
        return self.voxtral.encoder.encode(self.voxtral.mel(self.clip.pcm))

    @torch.inference_mode()
    def prefill(self, heard: torch.Tensor) -> torch.Tensor:
        """Scores of the first token."""
        decoder = self.voxtral.decoder
        ids = torch.tensor([max(token, 0) for token in self.prompt.tokens], device=self.device)
        embedded = decoder.embed(ids)
        first = self.prompt.tokens.index(next(iter(self.clip.tokens)))
        embedded[first : first + len(heard)] = heard
        return decoder.read(0, embedded, 0)

    def decode(self, count: int, scores: torch.Tensor | None = None) -> None:
        """`count` tokens, whatever they are; the last one reaches the host."""
        chooser = Chooser(0.2, 0.95, count + 1, 0, self.device)
        token = torch.ones(1, dtype=torch.int64, device=self.device) if scores is None else chooser.choose(scores)
        for index in range(count):
            token = chooser.choose(self.voxtral.decoder.step(0, token, len(self.prompt.tokens) + index))
        token.item()

    def clause(self) -> None:
        self.decode(floors.CLAUSE_TOKENS - 1, self.prefill(self.encoder()))


def _prompt(tokens: Tokens, clip: Clip) -> Prompt:
    """As long as PROMPT_TOKENS: a persona of so many words, and the sound."""
    words = ""
    while True:
        message = Message("user", (AudioPart(clip.pcm),))
        prompt = conversation(tokens, [message], words, audio_turns=1, budget=1024)
        if len(prompt.tokens) >= floors.PROMPT_TOKENS:
            return prompt
        words += " so"


class FirstClause:
    """Kokoro's, as a whole."""

    def __init__(self, folder: Path, voices: Path, device: torch.device) -> None:
        from voxtral_voice.engines.kokoro_torch import KokoroTorch

        started = time.perf_counter()
        self._engine = KokoroTorch(folder, voices, config.load().voice, device=str(device))
        self.prepare_s = time.perf_counter() - started
        self.sound_s = 0.0

    @staticmethod
    def found(device: torch.device) -> FirstClause | None:
        """None where the store lacks its weights."""
        store = from_config(config.load())
        folder, voices = store.locate("kokoro") or store.locate("kokoro_onnx"), store.locate("kokoro_voices")
        return FirstClause(folder, voices, device) if folder and voices else None

    def speak(self) -> None:
        pieces = list(self._engine.speak(_CLAUSE, Voice("af_heart"), Cancel()))
        self.sound_s = sum(len(piece) for piece in pieces) / SPEAK_HZ

    def close(self) -> None:
        self._engine.close()


def measure(
    report: Report, setting: Setting, tokens: Tokens, card: floors.Card, voice: FirstClause | None, n: int
) -> None:
    stages = Stages(setting, tokens)
    least = floors.floors(
        random_voxtral.configuration(setting.size), card, weight_bytes=1 if setting.weights == "int8" else 2
    )
    device = setting.device

    def row(name: str, values: list[float], floor_ms: float) -> None:
        report.values(f"{setting}: {name} (floor {floor_ms:.3g})", values)

    heard = stages.encoder()
    row("encoder", times_ms(stages.encoder, device, n), least.encoder)
    row("prefill", times_ms(lambda: stages.prefill(heard), device, n), least.prefill)
    many = [each / 16 for each in times_ms(lambda: stages.decode(16), device, n)]
    row("decode, a token", many, least.decode)
    row(f"first clause, {floors.CLAUSE_TOKENS} tokens", times_ms(stages.clause, device, n), least.clause)

    def answer() -> None:
        stages.clause()
        if voice is not None:
            voice.speak()

    row(
        "end of audio to first PCM, one stage after the other",
        times_ms(answer, device, n) if voice else [],
        least.first_pcm,
    )
    report.figure(f"{setting}: weights made", stages.build_s, 1, "s")
    report.figure(f"{setting}: prepared", stages.prepare_s, 1, "s")
    report.figure(f"{setting}: peak memory", _peak_gb(device), 1, "GB")


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--size", choices=["full", "tiny"], help="default: full on a GPU, tiny on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--weights", nargs="+", choices=["bf16", "int8"], default=["bf16", "int8"])
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    size: random_voxtral.Size = chosen.size or ("full" if device.type == "cuda" else "tiny")
    card = floors.measured(device)
    params: dict[str, object] = {"size": size, "device": card.name, "torch": torch.__version__, "clause": _CLAUSE}
    report = Report("gpu", params)
    report.figure("bf16 products", card.bf16_flop_per_s / 1e12, 5, "TFLOP/s")
    report.figure("fp32 products", card.fp32_flop_per_s / 1e12, 5, "TFLOP/s")
    report.figure("memory", card.bytes_per_s / 1e9, 5, "GB/s")
    with tempfile.TemporaryDirectory() as folder:
        random_voxtral.write_tokenizer(Path(folder), size)
        tokens = Tokens(Path(folder))
    n = 3 if chosen.quick else 15
    voice = FirstClause.found(device)
    if voice is None:
        report.notes.append("Kokoro: not measured, `voxtral-voice models fetch` brings its weights")
    else:
        floor_ms = floors.floors(random_voxtral.configuration(size), card).kokoro
        kokoro = times_ms(voice.speak, device, n)
        report.values(f"Kokoro, first clause of {voice.sound_s:.2f} s (floor {floor_ms:.3g} at 1.5 s)", kokoro)
        report.figure("Kokoro: prepared", voice.prepare_s, 1, "s")
    for weights in chosen.weights:
        for graphs in (False, True):
            if graphs and device.type != "cuda":
                report.notes.append(f"{weights} graph: not measured, it needs CUDA")
                continue
            measure(report, Setting(size, device, weights, graphs), tokens, card, voice, n)
            _release(device)
    if voice is not None:
        voice.close()
    report.finish(chosen.json)
    return 0


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


if __name__ == "__main__":
    sys.exit(main())
