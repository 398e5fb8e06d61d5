"""The engines of a plan, each loaded in the thread that will run it.

On a CPU the understander and the voice share one thread: on few cores their pools would only fight, and each is fastest
with all cores to itself. On a GPU each has its own, with a stream of its own on the device. The VAD and the end-of-turn
model answer beside them in either case, because a turn waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voxtral_voice.config import Config
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import Engines, Synthesizer, Understander
from voxtral_voice.models import machine
from voxtral_voice.models.profile import Plan

_MOST_THREADS = 4
_LAST_STEP_S = 5.0
_FASTER = "kokoro-faster.json"
"""Beside the models: which build of Kokoro was the faster one on this CPU."""


def threads(config: Config) -> int:
    """CPU threads of the engine at work."""
    return config.engines.threads or min(_MOST_THREADS, machine.cores())


@dataclass(frozen=True, slots=True)
class Workers:
    detect: Worker
    endpoint: Worker
    understand: Worker
    speak: Worker

    @staticmethod
    def start(plan: Plan, config: Config) -> Workers:
        nice = config.engines.niceness
        detect, endpoint = Worker("detect"), Worker("endpoint", nice=nice)
        if plan.device == "cpu":
            compute = Worker("compute", nice=nice)
            return Workers(detect, endpoint, compute, compute)
        return Workers(detect, endpoint, Worker("understand", nice=nice), Worker("speak", nice=nice))

    def close(self) -> None:
        distinct = {self.detect, self.endpoint, self.understand, self.speak}
        for worker in distinct:
            worker.close()
        for worker in distinct:  # a thread inside a library while the interpreter goes away aborts the process
            worker.join(_LAST_STEP_S)


async def build(plan: Plan, folders: Mapping[str, Path], config: Config, workers: Workers) -> Engines:
    """Load every model in the thread that will run it, so that its pools inherit that thread's niceness.

    `folders`: a model's name to where it lies; `kokoro` may be the folder of `kokoro_onnx`. Raises VoiceError, or what
    the libraries raise for a damaged model.
    """
    from voxtral_voice.endpoint import SmartTurn
    from voxtral_voice.vad import SileroDetector

    return Engines(
        detector=await workers.detect.call(SileroDetector, folders["silero"]),
        endpoint=await workers.endpoint.call(SmartTurn, folders["smart_turn"], config.engines.endpoint_threads),
        understander=await workers.understand.call(_understander, plan, folders, config),
        synthesizer=await workers.speak.call(_voice, plan, folders, config),
        detect_worker=workers.detect,
        endpoint_worker=workers.endpoint,
        understand_worker=workers.understand,
        speak_worker=workers.speak,
    )


def _understander(plan: Plan, folders: Mapping[str, Path], config: Config) -> Understander:
    return _voxtral(plan, folders, config) if plan.understander == "voxtral" else _cascade(folders, config)


def _voxtral(plan: Plan, folders: Mapping[str, Path], config: Config) -> Understander:
    import torch

    from voxtral_voice.engines.voxtral.engine import Voxtral

    if plan.device == "cpu":
        torch.set_num_threads(threads(config))
    return Voxtral.load(
        folders["voxtral"],
        device=plan.device,
        weights=plan.weights,
        slots=plan.slots,
        context_tokens=plan.context_tokens,
        audio_turns=config.reply.audio_turns,
        without_voice=config.reply.without_voice,
    )


def _cascade(folders: Mapping[str, Path], config: Config) -> Understander:
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


def _voice(plan: Plan, folders: Mapping[str, Path], config: Config) -> Synthesizer:
    from voxtral_voice.engines.said_before import SaidBefore

    synthesizer = _synthesizer(plan, folders, config)
    return SaidBefore(synthesizer, config.voice.kept_bytes) if config.voice.kept_bytes else synthesizer


def _synthesizer(plan: Plan, folders: Mapping[str, Path], config: Config) -> Synthesizer:
    kind, voices = plan.synthesizer, folders["kokoro_voices"]
    if kind == "auto":
        from voxtral_voice.engines.kokoro_choice import faster

        kind = faster(folders["kokoro_onnx"], voices, config.voice, threads(config), config.models.root / _FASTER)
    folder = folders.get("kokoro", folders.get("kokoro_onnx"))
    assert folder is not None, "every plan takes one of the two"
    if kind == "kokoro-onnx":
        from voxtral_voice.engines.kokoro_onnx import KokoroOnnx

        return KokoroOnnx(folders["kokoro_onnx"], voices, config.voice, threads=threads(config))
    from voxtral_voice.engines.kokoro_torch import KokoroTorch

    return KokoroTorch(folder, voices, config.voice, device=plan.device, threads=threads(config))
