"""The server with engines that cost nothing, so that what is measured is everything else.

    python -m bench.zero_cost --port 8090 [--vad energy|silero] [--recogniser none|whisper] [--smart-turn] [--reply-s 2]

A pause is the end of a turn as soon as the graded rule allows; a reply is a tone, there at once. It writes `ready` when
it can be talked to and answers each line on its standard input with its event loop's lag since the last one. Settings
come from the environment, as everywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
from uvicorn.loops.auto import auto_loop_factory

from voxtral_voice import config, logs
from voxtral_voice.config import Config
from voxtral_voice.engines.bridge import Worker
from voxtral_voice.engines.protocols import EndpointDetector, Engines, SpeechDetector
from voxtral_voice.models.manager import ModelManager, ModelState
from voxtral_voice.server.app import create_app
from voxtral_voice.server.run import Server
from voxtral_voice.types import (
    SPEAK_HZ,
    AudioPart,
    Cancel,
    Delta,
    Finished,
    Heard,
    Message,
    Pcm,
    ReplySettings,
    Voice,
    VoiceError,
)

REPLY_S = 2.0
_TICK_S = 0.05


class Energy:
    """Speech is what is loud."""

    window_samples = 512

    def start(self) -> object:
        return None

    def probability(self, window: Pcm, state: object) -> tuple[float, object]:
        return (1.0 if float(np.abs(window).mean()) > 0.05 else 0.0), None


class Sure:
    """Every pause is the end."""

    def probability(self, turn_audio: Pcm) -> float:
        return 0.95


class Echo:
    """Hears "something", or what a recogniser hears."""

    languages = frozenset({"en"})
    audio_turns = 0

    def reply(
        self, messages: tuple[Message, ...], settings: ReplySettings, cancel: Cancel
    ) -> Iterator[Delta | Heard | Finished]:
        for index, part in enumerate(messages[-1].parts if messages else ()):
            if isinstance(part, AudioPart) and part.text is None:
                yield Heard("something", index, "en")
        yield Delta("That is all.")
        yield Finished("stop", 1, 3)

    def __init__(self, recognise: Callable[[Pcm], str] = lambda _: "something") -> None:
        self._recognise = recognise

    def transcribe(self, pcm: Pcm, language: str, cancel: Cancel) -> Iterator[Heard]:
        yield Heard(self._recognise(pcm), 0, "en")


class Tone:
    def __init__(self, seconds: float) -> None:
        self._pcm = np.full(round(seconds * SPEAK_HZ), 0.3, np.float32)

    def speak(self, clause: str, voice: Voice, cancel: Cancel) -> Iterator[Pcm]:
        yield self._pcm

    def close(self) -> None:
        pass


class Ready(ModelManager):
    """A ModelManager with nothing to load."""

    def __init__(
        self, settings: Config, detector: SpeechDetector, finished: EndpointDetector, echo: Echo, reply_s: float
    ) -> None:
        super().__init__(settings)
        self.profile = "zero cost"
        self.states = {"zero cost": ModelState("ready", 1.0, "")}
        detect, endpoint, compute = Worker("detect"), Worker("endpoint"), Worker("compute")
        self._free = Engines(detector, finished, echo, Tone(reply_s), detect, endpoint, compute, compute)

    @property
    def ready(self) -> bool:
        return True

    @property
    def engines(self) -> Engines:
        return self._free

    def refusal(self) -> VoiceError | None:
        return None

    async def load(self) -> None:
        pass

    def close(self) -> None:
        for worker in (self._free.detect_worker, self._free.endpoint_worker, self._free.understand_worker):
            worker.close()


def _detector(settings: Config, kind: str) -> SpeechDetector:
    if kind == "energy":
        return Energy()
    from voxtral_voice.models.store import from_config
    from voxtral_voice.vad import SileroDetector

    return SileroDetector(from_config(settings).fetch("silero"))


def _endpoint(settings: Config, smart_turn: bool) -> EndpointDetector:
    if not smart_turn:
        return Sure()
    from voxtral_voice.endpoint import SmartTurn
    from voxtral_voice.models.store import from_config

    return SmartTurn(from_config(settings).fetch("smart_turn"), settings.engines.endpoint_threads)


def _echo(settings: Config, recogniser: str) -> Echo:
    if recogniser == "none":
        return Echo()
    from voxtral_voice.engines.whisper import Whisper
    from voxtral_voice.models.store import from_config

    whisper = Whisper(from_config(settings).fetch("whisper_english"), threads=1)
    return Echo(lambda pcm: whisper.transcribe(pcm, "en")[0])


async def sample_lag(lags_ms: list[float], tick_s: float = _TICK_S) -> None:
    """How much later than asked the event loop wakes somebody, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + tick_s
        await asyncio.sleep(tick_s)
        lags_ms.append(max(0.0, loop.time() - due) * 1000)


def _answer_lines(lags_ms: list[float]) -> None:
    for _ in sys.stdin:
        found, lags_ms[:] = sorted(lags_ms), []
        p99 = found[int(0.99 * len(found))] if found else 0.0
        print(json.dumps({"n": len(found), "p99_ms": p99}), flush=True)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="to listen on, 127.0.0.1 alone")
    parser.add_argument("--vad", choices=["energy", "silero"], default="energy", help="what is speech")
    parser.add_argument("--recogniser", choices=["none", "whisper"], default="none", help="hears words over a reply")
    parser.add_argument("--smart-turn", action="store_true", help="it decides about the end of a turn")
    parser.add_argument("--reply-s", type=float, default=REPLY_S, help="length of a reply (default %(default)s)")
    chosen = parser.parse_args()
    settings = config.load(overrides={"server.host": "127.0.0.1", "server.port": chosen.port})
    logs.configure(settings.logging)
    detector, endpoint = _detector(settings, chosen.vad), _endpoint(settings, chosen.smart_turn)
    manager = Ready(settings, detector, endpoint, _echo(settings, chosen.recogniser), chosen.reply_s)
    server = Server(create_app(settings, manager), settings)
    lags_ms: list[float] = []
    serving = asyncio.create_task(server.serve())
    sampling = asyncio.create_task(sample_lag(lags_ms))
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    threading.Thread(target=_answer_lines, args=(lags_ms,), daemon=True).start()
    print("ready", flush=True)
    await serving
    sampling.cancel()
    return 0 if server.started else 1


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # the loop that `serve` runs on
        sys.exit(runner.run(main()))
