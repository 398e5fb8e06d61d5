"""What runs on a CPU: silero, smart-turn, Whisper with a small text model or templates, and Kokoro on onnxruntime.

The recogniser, the text model and the voice share one thread: on few cores their pools would only fight, and each is
fastest with all cores to itself. The VAD and the end-of-turn model answer beside it, because a turn waits for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voxtral_voice.config import Config
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines, Synthesizer, Understander

_MOST_THREADS = 4


def needed(config: Config) -> tuple[str, ...]:
    """The models that these settings use, as the store names them."""
    reply = ("smollm2",) if config.engines.reply == "smollm2" else ()
    heard = ("silero", "smart_turn", "whisper_english", "whisper_multilingual")
    return (*heard, *reply, "kokoro_onnx", "kokoro_voices")


def threads(config: Config) -> int:
    """CPU threads of the engine at work."""
    if config.engines.threads:
        return config.engines.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, cores)


@dataclass(frozen=True, slots=True)
class Workers:
    detect: Worker
    endpoint: Worker
    compute: Worker

    @staticmethod
    def start(config: Config) -> Workers:
        nice = config.engines.niceness
        return Workers(Worker("detect"), Worker("endpoint", nice=nice), Worker("compute", nice=nice))

    @property
    def distinct(self) -> tuple[Worker, ...]:
        return (self.detect, self.endpoint, self.compute)


async def build(folders: Mapping[str, Path], config: Config, workers: Workers) -> Engines:
    """Load every model in the thread that will run it, so that its pools inherit that thread's niceness."""
    from voxtral_voice.endpoint import SmartTurn
    from voxtral_voice.vad import SileroDetector

    return Engines(
        detector=await workers.detect.call(SileroDetector, folders["silero"]),
        endpoint=await workers.endpoint.call(SmartTurn, folders["smart_turn"], config.engines.endpoint_threads),
        understander=await workers.compute.call(_understander, folders, config),
        synthesizer=await workers.compute.call(_synthesizer, folders, config),
        detect_worker=workers.detect,
        endpoint_worker=workers.endpoint,
        understand_worker=workers.compute,
        speak_worker=workers.compute,
    )


def close(engines: Engines) -> None:
    """End what is not a thread: the phoneme processes."""
    engines.synthesizer.close()


def _understander(folders: Mapping[str, Path], config: Config) -> Understander:
    from voxtral_voice.engines.cascade import Cascade, TextReplier
    from voxtral_voice.engines.template import Template
    from voxtral_voice.engines.whisper import Hearing, Whisper

    # One thread hears an utterance as fast as two (74 and 107 ms) and leaves a core to the end-of-turn model.
    hearing = Hearing(
        Whisper(folders["whisper_english"], threads=1), Whisper(folders["whisper_multilingual"], threads=1)
    )
    replier: TextReplier = Template()
    if config.engines.reply == "smollm2":
        import torch

        from voxtral_voice.engines.smollm2 import SmolLM2

        # A token is many small products: a second thread gains 12 % and, where cores are shared, waits at each of them.
        torch.set_num_threads(1)
        replier = SmolLM2(folders["smollm2"], context_tokens=config.reply.context_tokens)
    return Cascade(hearing, replier, config.reply.without_voice)


def _synthesizer(folders: Mapping[str, Path], config: Config) -> Synthesizer:
    from voxtral_voice.engines.kokoro_onnx import KokoroOnnx

    return KokoroOnnx(folders["kokoro_onnx"], folders["kokoro_voices"], config.voice, threads=threads(config))
